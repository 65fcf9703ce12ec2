"""HubOperator — what the operator of a hub does on its servers: removes a host, admits it again, looks who is let in.

Owns the order of a removal. A host is marked as removed only when no server lets it in any more, and its mail at the
hub is deleted before the mark. So the hosts that read the mark can return what waits for it: nothing of that arrives
later.
Not here: the servers' configuration (`operator.hub`), what hosts do with the mark (`host_records`).
Invariant: a host that is marked gets nothing from the hub.
"""

__all__ = ["HubAccess", "StillAdmitted", "admit_again", "raise_copies", "remove_from_hub"]

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.errors import Error as NatsError

from mailroomd.relay.hub import HubUnreachable
from mailroomd.relay.hub_objects import BUCKETS, copies

CONNECT_SEC = 5
REQUEST_SEC = 5.0
NOT_FOUND = 404


class StillAdmitted(Exception):  # noqa: N818 - a condition, not a defect
    """A server still lets the host in, or cannot be asked; the text says which and what to do."""


class HubAccess(NamedTuple):
    """How the operator reaches the servers.

    Attributes:
        servers: their addresses.
        user, password: of the operator.
        shard: the part of the hub that holds mail.
        ca: file with the certificates by which the servers' are checked; "" for those of the system.
    """

    servers: Sequence[str]
    user: str
    password: str
    shard: str
    ca: str = ""


def remove_from_hub(access: HubAccess, host: str, password: str) -> None:
    """Deletes a host's mail and records, and marks the host as removed.

    Args:
        access: how to reach the servers.
        host: its name.
        password: that it had.

    Raises:
        StillAdmitted: a server has not read its new configuration yet, or does not answer; nothing was changed.
        HubUnreachable: the hub did not do it all; repeat it.
    """
    asyncio.run(_remove(access, host, password))


def admit_again(access: HubAccess, host: str) -> None:
    """Takes the mark from a host, after what was sent to it meanwhile is deleted.

    Raises:
        HubUnreachable: the hub did not do it all; repeat it.
    """
    asyncio.run(_admit(access, host))


def raise_copies(access: HubAccess) -> list[str]:
    """Gives each stream as many copies as the hub can hold; returns the streams that were changed.

    Raises:
        HubUnreachable: the hub did not do it all; repeat it.
    """
    return asyncio.run(_raise_copies(access))


async def _remove(access: HubAccess, host: str, password: str) -> None:
    for server in access.servers:
        await _check_refused(access, server, host, password)
    async with _connected(access) as client:
        stream = f"MAIL_{access.shard}"
        await _api(client, f"CONSUMER.DELETE.{stream}.{host}", {})
        await _purge(client, stream, f"mail.{access.shard}.{host}.*")
        await _purge(client, "KV_hosts", f"$KV.hosts.{host}")
        await _purge(client, "KV_alive", f"$KV.alive.{host}")
        await _request(client, f"$KV.removed.{host}", b"{}")


async def _admit(access: HubAccess, host: str) -> None:
    async with _connected(access) as client:
        await _purge(client, f"MAIL_{access.shard}", f"mail.{access.shard}.{host}.*")
        await _purge(client, "KV_removed", f"$KV.removed.{host}")


async def _raise_copies(access: HubAccess) -> list[str]:
    wanted = copies(access.servers)
    changed: list[str] = []
    async with _connected(access) as client:
        for stream in (f"MAIL_{access.shard}", *(f"KV_{bucket}" for bucket in BUCKETS)):
            info = await _api(client, f"STREAM.INFO.{stream}", None)
            if info is not None and info["config"]["num_replicas"] < wanted:
                await _api(client, f"STREAM.UPDATE.{stream}", {**info["config"], "num_replicas": wanted})
                changed.append(stream)
    return changed


async def _check_refused(access: HubAccess, server: str, host: str, password: str) -> None:
    """Returns if a server refuses a host.

    Raises:
        StillAdmitted: it lets the host in, or does not answer.
    """
    try:
        client = await _connect(access, server, host, password)
    except HubUnreachable as error:
        if "authorization" in str(error).lower():
            return
        raise StillAdmitted(
            f"{server} does not answer ({error}): start it, or take it out of the hub with `mailroom hub init --server`"
        ) from error
    await client.close()
    raise StillAdmitted(f"{server} still lets {host} in: reload it with its new configuration")


@asynccontextmanager
async def _connected(access: HubAccess) -> AsyncGenerator[Any, None]:
    client = await _connect_any(access)
    try:
        yield client
    finally:
        with suppress(Exception):
            await client.close()


async def _connect_any(access: HubAccess) -> Any:
    problems: list[str] = []
    for server in access.servers:
        try:
            return await _connect(access, server, access.user, access.password)
        except HubUnreachable as error:
            problems.append(f"{server}: {error}")
    raise HubUnreachable("; ".join(problems))


async def _connect(access: HubAccess, server: str, user: str, password: str) -> Any:
    uses_tls = bool(access.ca) or server.startswith("tls://")
    refusals: list[Exception] = []

    async def failed(error: Exception) -> None:
        refusals.append(error)

    client: Any = Client()  # it has no types
    try:
        await client.connect(
            servers=[server],
            name="mailroom hub",
            user=user,
            password=password,
            tls=ssl.create_default_context(cafile=access.ca or None) if uses_tls else None,
            inbox_prefix=f"_INBOX_{user}".encode(),
            connect_timeout=CONNECT_SEC,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # it holds for the first connection, too
            reconnect_time_wait=0.1,
            error_cb=failed,
        )
    except (NatsError, OSError, TimeoutError) as error:
        with suppress(Exception):
            await client.close()  # it leaves its socket open otherwise
        known = refusals[-1] if refusals else error
        raise HubUnreachable(str(known) or type(known).__name__) from error
    return client


async def _purge(client: Any, stream: str, subject: str) -> None:
    await _api(client, f"STREAM.PURGE.{stream}", {"filter": subject})


async def _api(client: Any, name: str, body: object) -> Any:
    return await _request(client, f"$JS.API.{name}", b"" if body is None else json.dumps(body).encode())


async def _request(client: Any, subject: str, data: bytes) -> Any:
    """Returns the hub's answer; None if what the request names does not exist."""
    try:
        reply = await client.request(subject, data, timeout=REQUEST_SEC)
        answer = json.loads(reply.data)
    except (NatsError, OSError, TimeoutError, ValueError) as error:
        raise HubUnreachable(f"{subject}: {str(error) or type(error).__name__}") from error
    if "error" in answer:
        if answer["error"].get("code") == NOT_FOUND:
            return None
        raise HubUnreachable(str(answer["error"].get("description", answer["error"])))
    return answer
