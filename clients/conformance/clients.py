"""Clients — the table of clients under test: what each needs on this machine, how it is built and how it is run.

The only module that names languages. To add a client: an adapter, and a row here. Not here: what a client must do
(`scenarios`).
Invariant: what is built goes to BUILD, and nothing is installed into the system.
"""

__all__ = ["BUILD", "CLIENTS", "Client", "Missing"]

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import google.rpc
from mailroomd import __version__

from conformance.first_clients import ADDRESS, first_client

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
BUILD = HERE / ".build"
ADAPTERS = HERE / "adapters"
CONTRACT = "mailroom/v1/mailroom.proto"
TOOLCHAINS = "PATH=$(scripts/toolchains):$PATH has one from PyPI"
BUILD_SEC = 1200.0  # the first build fetches and compiles the libraries


class Missing(Exception):  # noqa: N818 - of this machine, not of the suite
    """The client cannot be built here; the text says what is missing and what to do."""


@dataclass(frozen=True)
class Client:
    """One column of the table.

    Attributes:
        name: for the command line.
        title: of its column.
        build: builds it; raises Missing where a toolchain is not there. Returns the command of the adapter.
        first: returns the command of the first client in docs/clients.md; None if it has none there.
    """

    name: str
    title: str
    build: Callable[[], list[str]]
    first: Callable[[str], list[str]] | None = None


def _run(*command: str | Path, cwd: Path = PROJECT, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [str(one) for one in command],
        cwd=cwd,
        env=dict(os.environ) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SEC,
        check=False,
    )
    if done.returncode:
        output = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(str(one) for one in command)} ended with {done.returncode}:\n{output}")


def _need(program: str, advice: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Missing(f"there is no {program}: {advice}")
    return found


def _need_file(pattern: str, package: str) -> None:
    if not any(Path("/").glob(pattern)):
        raise Missing(f"the Debian package {package} is not installed: apt-get install {package}")


def _fresh(name: str) -> Path:
    directory = BUILD / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


# -- Python -----------------------------------------------------------------------------------------------------------


def _python(adapter: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, str(ADAPTERS / "python" / adapter)]


def _first_python(target: str) -> list[str]:
    return [sys.executable, str(first_client("python", _fresh("first-python") / "first.py", target))]


# -- Node -------------------------------------------------------------------------------------------------------------


def _need_node() -> None:
    node = _need("node", f"install Node 20 or newer; {TOOLCHAINS}")
    _need("npm", "install it with Node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(re.findall(r"\d+", version)[0]) < 20:
        raise Missing(f"Node {version} is too old: Node 20 or newer is needed; {TOOLCHAINS}")


def _install(directory: Path) -> None:
    """Runs `npm ci`, unless what is there is of this lock already."""
    mark, lock = directory / "node_modules" / ".installed-lock", (directory / "package-lock.json").read_text()
    if mark.exists() and mark.read_text() == lock:
        return
    _run("npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", cwd=directory)
    mark.write_text(lock)


def _grpc_js() -> list[str]:
    _need_node()
    _install(ADAPTERS / "node")
    _descriptors()
    return ["node", str(ADAPTERS / "node" / "raw.mjs"), str(BUILD / "descriptors.pb")]


def _typescript_sdk() -> list[str]:
    _need_node()
    _install(PROJECT / "clients" / "typescript")
    _run("npm", "run", "--silent", "build", cwd=PROJECT / "clients" / "typescript")
    return ["node", str(ADAPTERS / "node" / "sdk.mjs")]


def _first_typescript(target: str) -> list[str]:
    package = _fresh("first-js") / "node_modules" / "mailroom-client"
    package.parent.mkdir()
    package.symlink_to(PROJECT / "clients" / "typescript")
    return ["node", str(first_client("js", BUILD / "first-js" / "first.mjs", target))]


def _descriptors() -> None:
    """Writes the contract and its imports as one FileDescriptorSet."""
    BUILD.mkdir(exist_ok=True)
    _protoc("--include_imports", f"--descriptor_set_out={BUILD}/descriptors.pb")


def _protoc(*arguments: str, env: Mapping[str, str] | None = None) -> None:
    _run(sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", *arguments, f"protos/{CONTRACT}", env=env)


# -- Go ---------------------------------------------------------------------------------------------------------------

GO_MODULE = "github.com/mailroom-daemon/mailroom/clients/go"


def _go(adapter: str) -> Callable[[], list[str]]:
    def build() -> list[str]:
        modfile = _go_modules(BUILD / "go")
        _build_go(adapter, ADAPTERS / "go", BUILD / "go" / adapter, f"-modfile={modfile}")
        return [str(BUILD / "go" / adapter)]

    return build


def _go_modules(directory: Path) -> Path:
    """Writes what the adapters require, with the SDK of this checkout, to a directory; returns the go.mod."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("go.mod", "go.sum"):
        shutil.copy(ADAPTERS / "go" / name, directory / name)
    go = _need("go", f"install Go 1.26 or newer; {TOOLCHAINS}")
    _run(go, "mod", "edit", f"-replace={GO_MODULE}={PROJECT}/clients/go", directory / "go.mod")
    return directory / "go.mod"


def _build_go(package: str, module: Path, out: Path, *flags: str) -> None:
    version = f"-ldflags=-X main.version={__version__}"
    _run("go", "build", *flags, "-mod=mod", version, "-o", out, f"./{package}", cwd=module)


def _first_go(target: str) -> list[str]:
    module = _go_modules(_fresh("first-go")).parent
    first_client("go", module / "main.go", target)
    _build_go("", module, module / "first")
    return [str(module / "first")]


# -- Rust -------------------------------------------------------------------------------------------------------------


def _rust() -> list[str]:
    cargo = _need("cargo", "install Rust 1.88 or newer")
    BUILD.mkdir(exist_ok=True)
    first_client("rust", BUILD / "first.rs", ADDRESS)  # Cargo.toml names it, so it must be there
    _cargo(cargo, "adapter")
    return [str(BUILD / "rust" / "debug" / "adapter")]


def _cargo(cargo: str, binary: str) -> None:
    manifest = ADAPTERS / "rust" / "Cargo.toml"
    target = {"CARGO_TARGET_DIR": str(BUILD / "rust")}
    _run(cargo, "build", "--locked", "--quiet", "--manifest-path", manifest, "--bin", binary, env=target)


def _first_rust(target: str) -> list[str]:
    first_client("rust", BUILD / "first.rs", target)
    _cargo("cargo", "first")
    return [str(BUILD / "rust" / "debug" / "first")]


# -- Java -------------------------------------------------------------------------------------------------------------


def _java() -> list[str]:
    _need("javac", "install a JDK 17 or newer")
    maven = _need("mvn", "install Maven")
    _need("grpc_java_plugin", "apt-get install protobuf-compiler-grpc-java-plugin")
    _run(maven, "-q", "-B", "-f", ADAPTERS / "java" / "pom.xml", "package", f"-Dbuild={BUILD}/java")
    return ["java", "-cp", _java_classes(), "Adapter"]


def _java_classes() -> str:
    return f"{BUILD}/java/classes:{BUILD}/java/libraries/*"


def _first_java(target: str) -> list[str]:
    source = first_client("java", _fresh("first-java") / "First.java", target)
    return ["java", "-cp", _java_classes(), str(source)]


# -- C++ and Ruby, from Debian ----------------------------------------------------------------------------------------

GOOGLEAPIS = Path(google.rpc.__path__[0]).parents[1]  # googleapis-common-protos has the sources, too
DETAILS = ("google/rpc/status.proto", "google/rpc/error_details.proto")
CPP_CODE = (
    "mailroom/v1/mailroom.pb",
    "mailroom/v1/mailroom.grpc.pb",
    "google/rpc/status.pb",
    "google/rpc/error_details.pb",
)
CPP_LIBRARIES = ("grpc++", "protobuf")
CPP_PACKAGES = "libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc nlohmann-json3-dev"


def _debian_code(plugin: str, out: Path, *flags: str) -> None:
    path = _need(plugin, "apt-get install protobuf-compiler-grpc")
    protoc = _need("protoc", "apt-get install protobuf-compiler")
    _need_file("usr/include/google/protobuf/struct.proto", "libprotobuf-dev")
    _run(protoc, "-I", "protos", *flags, f"--grpc_out={out}", f"--plugin=protoc-gen-grpc={path}", f"protos/{CONTRACT}")
    _run(protoc, "-I", GOOGLEAPIS, *flags, *(GOOGLEAPIS / name for name in DETAILS))


def _cpp() -> list[str]:
    _need("g++", "apt-get install g++")
    _need("pkg-config", "apt-get install pkg-config")
    _need_file("usr/include/grpcpp/grpcpp.h", CPP_PACKAGES)
    _need_file("usr/include/nlohmann/json.hpp", CPP_PACKAGES)
    out = BUILD / "cpp"
    out.mkdir(parents=True, exist_ok=True)
    _debian_code("grpc_cpp_plugin", out, f"--cpp_out={out}")
    for source in CPP_CODE:
        _compile(out / f"{source}.cc", _object(source))
    _link(ADAPTERS / "cpp" / "adapter.cc", out / "adapter")
    return [str(out / "adapter")]


def _object(source: str) -> Path:
    return BUILD / "cpp" / f"{source.rpartition('/')[2]}.o"


def _compile(source: Path, out: Path) -> None:
    sources = (source, *sorted((BUILD / "cpp").rglob("*.h")))  # with another header, an old object crashes
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    known = out.with_suffix(".digest")
    if out.exists() and known.exists() and known.read_text() == digest:
        return
    _run("g++", "-std=c++17", "-O0", "-c", "-I", BUILD / "cpp", source, "-o", out)
    known.write_text(digest)


def _link(source: Path, out: Path) -> None:
    _compile(source, out.with_suffix(".o"))
    libraries = subprocess.run(
        ["pkg-config", "--libs", *CPP_LIBRARIES], capture_output=True, text=True, check=True
    ).stdout.split()
    _run("g++", out.with_suffix(".o"), *map(_object, CPP_CODE), "-o", out, *libraries)


def _first_cpp(target: str) -> list[str]:
    _link(first_client("cpp", BUILD / "cpp" / "first.cc", target), BUILD / "cpp" / "first")
    return [str(BUILD / "cpp" / "first")]


def _ruby() -> list[str]:
    ruby = _need("ruby", "apt-get install ruby-grpc")
    if subprocess.run([ruby, "-e", "require 'grpc'"], capture_output=True, check=False).returncode:
        raise Missing("the Debian package ruby-grpc is not installed: apt-get install ruby-grpc")
    out = BUILD / "ruby"
    out.mkdir(parents=True, exist_ok=True)
    _debian_code("grpc_ruby_plugin", out, f"--ruby_out={out}")
    return [ruby, "-I", str(out), str(ADAPTERS / "ruby" / "adapter.rb")]


def _first_ruby(target: str) -> list[str]:
    return ["ruby", "-I", str(BUILD / "ruby"), str(first_client("ruby", _fresh("first-ruby") / "first.rb", target))]


CLIENTS = (
    Client("grpcio", "Python, grpcio", _python("raw.py")),
    Client("python-sdk", "Python SDK", _python("sdk.py"), _first_python),
    Client("grpc-js", "Node, grpc-js", _grpc_js),
    Client("typescript-sdk", "TypeScript SDK", _typescript_sdk, _first_typescript),
    Client("go", "Go, grpc-go", _go("raw")),
    Client("go-sdk", "Go SDK", _go("sdk"), _first_go),
    Client("rust", "Rust, tonic", _rust, _first_rust),
    Client("java", "Java, grpc-java", _java, _first_java),
    Client("cpp", "C++, Debian's", _cpp, _first_cpp),
    Client("ruby", "Ruby, Debian's", _ruby, _first_ruby),
)
