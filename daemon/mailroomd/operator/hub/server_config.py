"""The configuration of a hub's NATS servers: addresses, the cluster, and who may publish and read which subjects.

A host may write only in its own name, read only its own mail, and make only the streams and the consumer that it needs.
Not here: what is known of the hub (`hub_description`), running the servers; TLS certificates, whose paths go into the
configuration.
"""

__all__ = ["OPERATOR", "config_names", "server_config", "server_urls"]

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mailroomd.operator.hub.hub_description import Hub

OPERATOR = "_operator"
"""The user as which `mailroom hub` works on the servers; no host can have such a name."""
DEFAULT_PORT = 4222
CLUSTER_PORT_ABOVE = 2000  # 4222 for hosts, 6222 between the servers, as is usual with NATS
BUCKETS = ("hosts", "alive", "removed")


def server_urls(given: Sequence[str]) -> list[str]:
    """Returns the addresses of servers, one each, from what NATS's users write: nats://h1:4222,h2:4222,h3:4222.

    Raises:
        ValueError: one of them is not an address.
    """
    urls: list[str] = []
    for text in given:
        scheme = text.partition("://")[0] if "://" in text else "nats"
        for part in filter(None, map(str.strip, text.split(","))):
            url = part if "://" in part else f"{scheme}://{part}"
            split = urlsplit(url)
            if split.scheme not in ("nats", "tls") or not split.hostname:
                raise ValueError(f"{part!r} is not the address of a server, such as nats://hub.example:4222")
            host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
            urls.append(f"{split.scheme}://{host}:{split.port or DEFAULT_PORT}")
    return list(dict.fromkeys(urls))


def config_names(hub: Hub) -> list[str]:
    """Returns the names of the files, one for each server."""
    if len(hub.servers) == 1:
        return ["nats-server.conf"]
    return [f"nats-server-{number}.conf" for number in range(1, len(hub.servers) + 1)]


def server_config(hub: Hub, number: int, directory: Path) -> str:
    """Returns the configuration of one server.

    Args:
        hub: what is known of the hub.
        number: of the server, from 0.
        directory: of the hub's files on that server's machine.
    """
    users = [_user(host, password, hub.shard) for host, password in sorted(hub.hosts.items())]
    users.append(_operator(hub.operator))
    is_cluster = len(hub.servers) > 1
    store = f"jetstream-{number + 1}" if is_cluster else "jetstream"
    tls = f'tls {{ cert_file: "{hub.cert}", key_file: "{hub.key}" }}\n' if hub.cert else ""
    return f"""# Written by `mailroom hub init`; it writes the file again for each host that is added or removed.
listen: {_listen(hub, number)}
max_payload: 4MB
{tls}jetstream {{
  store_dir: "{directory / store}"
  sync_interval: always
}}
{_cluster(hub, number) if is_cluster else ""}authorization {{
  users: [
{chr(10).join(users)}
  ]
}}
"""


def _listen(hub: Hub, number: int) -> str:
    if len(hub.servers) == 1:
        return hub.listen
    address = hub.listen.rpartition(":")[0]
    return f"{address}:{urlsplit(hub.servers[number]).port}"


def _cluster(hub: Hub, number: int) -> str:
    """Returns how a server finds the others; each has its own name, and the same secret."""
    credentials = f'user: "cluster", password: "{hub.cluster_password}"'
    routes = "\n".join(
        f"    nats://cluster:{hub.cluster_password}@{_address(server)}"
        for other, server in enumerate(hub.servers)
        if other != number
    )
    authority = f', ca_file: "{hub.ca}"' if hub.ca else ""
    tls = f'  tls {{ cert_file: "{hub.cert}", key_file: "{hub.key}"{authority} }}\n' if hub.cert else ""
    port = (urlsplit(hub.servers[number]).port or DEFAULT_PORT) + CLUSTER_PORT_ABOVE
    return f"""server_name: hub-{number + 1}
cluster {{
  name: mailroom
  listen: {hub.listen.rpartition(":")[0]}:{port}
  no_advertise: true
  authorization {{ {credentials} }}
{tls}  routes: [
{routes}
  ]
}}
"""


def _address(server: str) -> str:
    split = urlsplit(server)
    host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname
    return f"{host}:{(split.port or DEFAULT_PORT) + CLUSTER_PORT_ABOVE}"


def _user(host: str, password: str, shard: str) -> str:
    stream = f"MAIL_{shard}"
    streams = (stream, *(f"KV_{bucket}" for bucket in BUCKETS))
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
        *(f"$JS.API.STREAM.{verb}.{name}" for name in streams for verb in ("INFO", "CREATE")),
        *(f"$JS.API.DIRECT.GET.KV_{bucket}.>" for bucket in BUCKETS),
    ]
    subscribe = [f"ask.{host}.*", "hello.*", f"_INBOX_{host}.>"]
    return (
        f'    {{ user: "{host}", password: "{password}", permissions: {{\n'
        f"      publish: {msgspec.json.encode(publish).decode()}\n"
        f"      subscribe: {msgspec.json.encode(subscribe).decode()}\n"
        "      allow_responses: true\n"
        "    } }"
    )


def _operator(password: str) -> str:
    """Returns the user of `mailroom hub`: it may change streams and mark hosts as removed, and read no mail."""
    publish = msgspec.json.encode(
        ["$JS.API.INFO", "$JS.API.STREAM.*.*", "$JS.API.CONSUMER.DELETE.*.*", "$KV.removed.*"]
    )
    return (
        f'    {{ user: "{OPERATOR}", password: "{password}", permissions: {{\n'
        f"      publish: {publish.decode()}\n"
        f'      subscribe: ["_INBOX_{OPERATOR}.>"]\n'
        "    } }"
    )
