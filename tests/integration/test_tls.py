"""The commands of docs/tls.md work as written; unencrypted and unknown clients get no further than the handshake."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from mailroom import InvalidArgument, Mailroom, TlsFailed
from mailroom.errors import DaemonNotRunning
from mailroomd.auth.token_file import TokenFile
from support.harness.client import Refusal, connect, refusal_of
from support.harness.deployment import Deployment, new_deployment

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "docs" / "tls.md"
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
COMMANDS = ["\n".join(line.removeprefix("$ ") for line in block.splitlines()) for block in BLOCKS]
AUTHORITY, TOKEN, SERVE, USE, CLIENT_CERTIFICATE, SERVE_MUTUAL, USE_MUTUAL = COMMANDS
NOW_MS = 1_700_000_000_000


def shell(home: Path, *commands: str, port: str = "50051") -> subprocess.CompletedProcess[str]:
    """Runs the commands of the page block by block, as a user with this home; each must succeed."""
    bin_ = str(Path(sys.executable).parent)
    environment = {"HOME": str(home), "PATH": f"{bin_}:{os.environ['PATH']}"}
    script = "\n".join(("set -e", *commands)).replace("50051", port)
    done = subprocess.run(["bash", "-c", script], env=environment, cwd=home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def serving(home: Path, command: str) -> Generator[str]:
    """Runs the daemon as the page says, on loopback; yields its port."""
    flags = command.replace("~", str(home)).split()[3:]
    with new_deployment("--listen", "127.0.0.1:0", *flags) as deployment:
        deployment.state_dir.mkdir()
        shutil.copy(home / ".local" / "state" / "mailroom" / "tokens.json", deployment.state_dir)  # with its mode
        deployment.start()
        yield tcp_of(deployment).rpartition(":")[2]


def tcp_of(deployment: Deployment) -> str:
    return next(address for address in deployment.addresses if not address.startswith("unix:"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the certificates and tokens of the page."""
    home = tmp_path_factory.mktemp("home")
    shell(home, AUTHORITY)
    shell(home, TOKEN)
    shell(home, CLIENT_CERTIFICATE)
    return home


@pytest.fixture(scope="module")
def tls(home: Path) -> Path:
    return home / "mailroom-tls"


@pytest.fixture(scope="module")
def port(home: Path) -> Generator[str]:
    with serving(home, SERVE) as port:
        yield port


@pytest.fixture(scope="module")
def mutual_port(home: Path) -> Generator[str]:
    with serving(home, SERVE_MUTUAL) as port:
        yield port


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_commands_of_the_page_work_in_order(home: Path, port: str) -> None:
    done = shell(home, USE, port=port)
    assert "filed" in done.stdout
    assert "no agent with this name has connected yet" in done.stderr


def test_mutual_tls_works_as_the_page_describes(home: Path, mutual_port: str) -> None:
    address_and_token = USE.splitlines()[0]
    shell(home, address_and_token, USE_MUTUAL, port=mutual_port)


def test_the_files_that_the_page_creates_are_private(tls: Path, home: Path) -> None:
    for secret in (tls / "ca.key", tls / "server.key", tls / "bob.key", home / "bob.token"):
        assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "sentence",
    [
        "The daemon's certificate has expired or was not issued by a trusted authority.",
        "The daemon's certificate does not cover this address.",
        "the peer closed the connection: it may require TLS (MAILROOM_TLS_CA) or a client certificate",
    ],
)
def test_the_page_quotes_the_clients_error_sentences(sentence: str) -> None:
    sources = Path(sys.modules["mailroom"].__path__[0]).glob("*.py")
    assert sentence in PAGE.read_text()
    assert any(sentence in re.sub(r'"\s*\n\s*"', "", source.read_text()) for source in sources)


# -- what does not get through ----------------------------------------------------------------------------------------


def client(home: Path, port: str, **access: Any) -> Mailroom:
    shown: Any = {"tls_ca": home / "mailroom-tls" / "ca.crt", "token_file": home / "bob.token"} | access
    return Mailroom(f"localhost:{port}", sender="bob", timeout=10, grace=0.2, **shown)


def test_the_sdk_uses_tls_and_presents_its_token(home: Path, port: str) -> None:
    with client(home, port) as bob:
        sent = bob.send("alice", "over TLS")
        assert bob.get_message(sent.id).message.content == "over TLS"


def test_a_call_without_tls_fails(port: str) -> None:
    with connect(f"localhost:{port}") as plain:
        refusal: Refusal = refusal_of(lambda: plain.check("bob"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "")


def test_tls_without_a_token_grants_nothing(tls: Path, port: str) -> None:
    credentials = grpc.ssl_channel_credentials((tls / "ca.crt").read_bytes())
    with connect(f"localhost:{port}", tls=credentials) as nobody:
        assert refusal_of(lambda: nobody.check("bob")).reason == "TOKEN_MISSING"


def test_a_client_without_tls_gets_a_hint(home: Path, port: str) -> None:
    plain = Mailroom(f"127.0.0.1:{port}", timeout=10, grace=0.2, token_file=home / "bob.token")
    with plain as bob, pytest.raises(DaemonNotRunning, match="it may require TLS"):
        bob.check_inbox("bob")


def test_a_certificate_of_another_authority_is_rejected(home: Path, port: str, tmp_path: Path) -> None:
    shell(tmp_path, AUTHORITY)
    with (
        client(home, port, tls_ca=tmp_path / "mailroom-tls" / "ca.crt") as bob,
        pytest.raises(TlsFailed, match="not issued by a trusted authority"),
    ):
        bob.check_inbox("bob")


def test_a_certificate_for_another_name_is_rejected(home: Path, tls: Path, port: str) -> None:
    numbered = Mailroom(
        f"127.0.0.1:{port}", timeout=10, grace=0.2, tls_ca=tls / "ca.crt", token_file=home / "bob.token"
    )
    with numbered as bob, pytest.raises(TlsFailed, match="does not cover this address"):
        bob.check_inbox("bob")


def test_tls_to_a_daemon_without_tls_gets_a_hint(home: Path) -> None:
    with new_deployment("--listen", "127.0.0.1:0", "--auth", "off") as deployment:
        deployment.start()
        port = tcp_of(deployment).rpartition(":")[2]
        with client(home, port) as bob, pytest.raises(TlsFailed, match="does not use TLS at this address"):
            bob.check_inbox("bob")


def test_mutual_tls_rejects_clients_without_a_certificate_of_its_authority(
    home: Path, tls: Path, mutual_port: str, tmp_path: Path
) -> None:
    with client(home, mutual_port, tls_cert=tls / "bob.crt", tls_key=tls / "bob.key") as bob:
        assert not bob.check_inbox("bob").messages
    with client(home, mutual_port) as bare, pytest.raises(DaemonNotRunning):
        bare.check_inbox("bob")
    shell(tmp_path, AUTHORITY, CLIENT_CERTIFICATE)
    forged = {"tls_cert": tmp_path / "mailroom-tls" / "bob.crt", "tls_key": tmp_path / "mailroom-tls" / "bob.key"}
    with client(home, mutual_port, **forged) as mallory, pytest.raises(DaemonNotRunning):
        mallory.check_inbox("bob")


def test_a_token_is_never_sent_unencrypted_over_a_network(home: Path) -> None:
    with (
        Mailroom("192.0.2.7:50051", token_file=home / "bob.token") as bob,
        pytest.raises(InvalidArgument, match="others on the network could read the token") as caught,
    ):
        bob.check_inbox("bob")
    assert caught.value.reason == "TLS_MISSING"


# -- the start --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        ("server.key", "missing", "server.key: No such file or directory"),
        ("server.key", "open", "is readable by every user. Run `chmod 600"),
        ("server.key", "another's", "are not a certificate (PEM) and its private key"),
        ("server.crt", "nonsense", "are not a certificate (PEM) and its private key"),
        ("ca.crt", "nonsense", "is not a certificate of an authority (PEM)"),
        ("ca.crt", "missing", "ca.crt: No such file or directory"),
    ],
)
def test_unusable_tls_files_are_refused_at_the_start(
    tmp_path: Path, tls: Path, file: str, damage: str, sentence: str
) -> None:
    for name in ("server.key", "server.crt", "ca.crt", "ca.key"):
        (tmp_path / name).write_bytes((tls / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    if damage == "missing":
        (tmp_path / file).unlink()
    elif damage == "open":
        (tmp_path / file).chmod(0o644)
    else:
        (tmp_path / file).write_bytes(b"nonsense" if damage == "nonsense" else (tls / "ca.key").read_bytes())
    files = [
        f"--tls-cert={tmp_path}/server.crt",
        f"--tls-key={tmp_path}/server.key",
        f"--tls-client-ca={tmp_path}/ca.crt",
    ]
    with new_deployment("--listen", "127.0.0.1:0", *files) as deployment:
        TokenFile(deployment.state_dir).create("bob", NOW_MS)
        with pytest.raises(AssertionError):
            deployment.start()
        assert deployment.wait_for_end() == 78
        assert sentence in deployment.log()
        assert "Traceback" not in deployment.log()
