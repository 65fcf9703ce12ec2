"""Setting up a hub — writes the configuration of its NATS server, and an invitation for each host.

Owns the server's configuration: who may publish and read which subjects. A host may write only in its own name, read
only its own mail, and make only the streams and the consumer that it needs. Not here: running the server; TLS
certificates, whose paths go into the configuration.
"""

__all__ = ["Hub", "add_host", "read_hub", "remove_host", "write_server_config"]

import os
import secrets
from pathlib import Path

import msgspec

HUB_NAME = "hub.json"  # what is known of the hub; beside the configuration
CONFIG_NAME = "nats-server.conf"
PASSWORD_BYTES = 24


class Hub(msgspec.Struct, omit_defaults=True):
    """A hub.

    Attributes:
        servers: the addresses by which hosts reach it.
        listen: the address that the server listens on.
        hosts: the password of each host, by name.
        shard: the part of the hub that holds their mail.
        cert, key, ca: paths of the certificate of the server, of its key, and of the authority that hosts check it by.
    """

    servers: list[str]
    listen: str
    hosts: dict[str, str] = {}
    shard: str = "main-0"
    cert: str = ""
    key: str = ""
    ca: str = ""


class Invitation(msgspec.Struct, omit_defaults=True):
    """What a host needs to join: a hub file without the host's own key."""

    host: str
    servers: list[str]
    user: str
    password: str
    shard: str
    ca_pem: str = ""


def read_hub(directory: Path) -> Hub | None:
    """Returns the hub of a directory; None if there is none.

    Raises:
        OSError: its file cannot be read.
        ValueError: its file is damaged.
    """
    try:
        return msgspec.json.decode((directory / HUB_NAME).read_bytes(), type=Hub)
    except FileNotFoundError:
        return None


def add_host(hub: Hub, host: str, directory: Path) -> Path:
    """Admits a host; returns the path of its invitation. A host that is admitted already gets the same password again.

    Raises:
        OSError: a file cannot be written.
    """
    password = hub.hosts.setdefault(host, secrets.token_urlsafe(PASSWORD_BYTES))
    ca_pem = Path(hub.ca).read_text(encoding="utf-8") if hub.ca else ""
    invitation = Invitation(host, hub.servers, host, password, hub.shard, ca_pem)
    path = directory / f"{host}.invitation"
    _write(path, msgspec.json.format(msgspec.json.encode(invitation)))
    return path


def remove_host(hub: Hub, host: str, directory: Path) -> bool:
    """Takes the rights of a host away; returns whether it had any."""
    (directory / f"{host}.invitation").unlink(missing_ok=True)
    return hub.hosts.pop(host, None) is not None


def write_server_config(hub: Hub, directory: Path) -> Path:
    """Writes the server's configuration, and the file from which it can be written again; returns its path.

    Raises:
        OSError: a file cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(directory / HUB_NAME, msgspec.json.format(msgspec.json.encode(hub)))
    path = directory / CONFIG_NAME
    _write(path, _config(hub, directory).encode())
    return path


def _config(hub: Hub, directory: Path) -> str:
    users = "\n".join(_user(host, password, hub.shard) for host, password in sorted(hub.hosts.items()))
    tls = f'tls {{ cert_file: "{hub.cert}", key_file: "{hub.key}" }}\n' if hub.cert else ""
    return f"""# Written by `mailroom hub init`; it writes the file again for each host that is added or removed.
listen: {hub.listen}
max_payload: 4MB
{tls}jetstream {{
  store_dir: "{directory / "jetstream"}"
  sync_interval: always
}}
authorization {{
  users: [
{users}
  ]
}}
"""


def _user(host: str, password: str, shard: str) -> str:
    stream = f"MAIL_{shard}"
    publish = [
        f"mail.*.*.{host}",
        f"ask.*.{host}",
        f"hello.{host}",
        f"$KV.hosts.{host}",
        f"$KV.alive.{host}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{host}",
        f"$JS.API.CONSUMER.INFO.{stream}.{host}",
        f"$JS.API.CONSUMER.DELETE.{stream}.{host}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{host}.mail.{shard}.{host}.*",
        f"$JS.ACK.{stream}.{host}.>",
        *(f"$JS.API.STREAM.{verb}.{name}" for name in (stream, "KV_hosts", "KV_alive") for verb in ("INFO", "CREATE")),
        "$JS.API.DIRECT.GET.KV_hosts.>",
        "$JS.API.DIRECT.GET.KV_alive.>",
    ]
    subscribe = [f"ask.{host}.*", "hello.*", f"_INBOX_{host}.>"]
    return (
        f'    {{ user: "{host}", password: "{password}", permissions: {{\n'
        f"      publish: {msgspec.json.encode(publish).decode()}\n"
        f"      subscribe: {msgspec.json.encode(subscribe).decode()}\n"
        "      allow_responses: true\n"
        "    } }"
    )


def _write(path: Path, content: bytes) -> None:
    """Writes a private file; a reader sees the old one or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    temporary.replace(path)
