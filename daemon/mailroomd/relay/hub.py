"""Hub — the connection to the NATS servers: batches in and out, questions, and records of hosts.

Owns the names of everything at the hub (subjects, streams, consumers). Uses core NATS only, and speaks the JetStream
API as subjects. Not here: what is published when, and what is done with what arrives (`link`, `inbound`).
Invariant: a batch is acknowledged to the hub only by its receiver's own call.
"""

__all__ = ["Hub", "HubUnreachable"]

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from mailroomd.observability.log import log
from mailroomd.relay.hub_file import HubFile
from mailroomd.relay.hub_messages import Delivery, StoredRecord, delivery_of, record_of, status_of
from mailroomd.relay.hub_objects import (
    BUCKETS,
    UNACKNOWLEDGED_BATCHES,
    bucket_config,
    consumer_config,
    copies,
    mail_config,
)

REQUEST_SEC = 5.0  # for an answer of the hub itself
ASK_SEC = 2.0  # for one of another host
MAX_ANSWERS = 256  # under way at a time
PULL_SEC = 20.0  # how long one pull stays at the hub
HEARTBEAT_SEC = 2.0  # while nothing arrives, so that a server that is gone is noticed
MISSED_HEARTBEATS = 3
PULL_BYTES = 4 << 20
NEEDED_PAYLOAD = 2 << 20  # bytes: a message of 1 MiB, with its metadata
RECONNECT_SEC = 1.0
NOT_FOUND = 404
NO_RESPONDERS = 503
HEARTBEAT = 100


class HubUnreachable(Exception):  # noqa: N818 - a condition, not a defect
    """The hub did not do what was asked, or did not answer; the text says why."""


OnMessage = Callable[[str, bytes], Awaitable[bytes | None]]


class Hub:
    """A connection that reconnects for as long as it is not closed.

    Args:
        hub_file: where the hub is, and who this host is.
        on_ask: answers a question of a host, or takes what it tells; gets its name and the data.
        on_change: called when the connection is made, made again or lost.
        on_hello: called with the name of another host that has started.

    Attributes:
        is_open: whether mail may be sent and fetched: this host's name is its own.
        problem: why not, or "".
    """

    def __init__(
        self,
        hub_file: HubFile,
        on_ask: OnMessage,
        on_change: Callable[[], None],
        on_hello: Callable[[str], Awaitable[None]],
    ) -> None:
        self.host = hub_file.host
        self._file = hub_file
        self._on_ask = on_ask
        self._on_change = on_change
        self._on_hello = on_hello
        self._client: Any = Client()  # it has no types
        self._answering: set[asyncio.Task[None]] = set()
        self._stream = f"MAIL_{hub_file.shard}"
        self.is_open = False
        self.problem = "the hub was not reached yet"

    @property
    def is_connected(self) -> bool:
        """Whether the hub can be reached now."""
        return self._client.is_connected

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended for good: the hub has refused this host."""
        return bool(self._client.is_closed)

    async def connect(self) -> None:
        """Returns when the hub is reached for the first time, and has what this host needs."""
        while True:
            try:
                await self._connect()
                await self._prepare()
                self._on_change()
                return
            except (NatsError, OSError, TimeoutError, HubUnreachable, ssl.SSLError) as error:
                self._report(error)
                with suppress(Exception):
                    await self._client.close()
                await asyncio.sleep(RECONNECT_SEC)

    def _report(self, error: BaseException) -> None:
        """Logs why the hub is not reached; the same reason once."""
        problem = f"the hub is not reached: {_describe(error)}"
        if problem != self.problem:
            log.warning("hub not reached", servers=self._file.servers, error=_describe(error))
        self.problem = problem

    async def close(self) -> None:
        """Ends the connection."""
        with suppress(Exception):
            await asyncio.wait_for(self._client.close(), 1.0)

    # -- batches --------------------------------------------------------------------------------------------------

    async def publish(self, recipient: str, shard: str, data: bytes, batch_id: str) -> None:
        """Publishes a batch; returns when the hub has accepted it.

        Raises:
            HubUnreachable: it may have arrived, or not.
        """
        subject = f"mail.{shard}.{recipient}.{self.host}"
        await self._request(subject, data, {"Nats-Msg-Id": batch_id})

    async def pull(self, take: Callable[[Delivery], None]) -> int:
        """Takes what arrives for one pull; returns how many batches that were, when it is over.

        Raises:
            HubUnreachable: the consumer is missing, or the connection is lost.
        """
        inbox = self._client.new_inbox()
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        left, unused = UNACKNOWLEDGED_BATCHES, 0
        try:
            subscription = await self._client.subscribe(inbox, cb=arrived.put)
            await self._client.publish(self._next_subject(), json.dumps(_PULL).encode(), reply=inbox)
            try:
                while left > unused:
                    message = await asyncio.wait_for(arrived.get(), HEARTBEAT_SEC * MISSED_HEARTBEATS)
                    status = status_of(message)
                    if not status:
                        take(delivery_of(message))
                        left -= 1
                    elif status != HEARTBEAT:
                        unused = _unused(message, status)
            finally:
                await subscription.unsubscribe()
        except TimeoutError:
            raise HubUnreachable("a pull was not answered") from None
        except (NatsError, OSError) as error:
            raise HubUnreachable(_describe(error)) from error
        return UNACKNOWLEDGED_BATCHES - left

    def _next_subject(self) -> str:
        return f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self.host}"

    async def mend(self) -> None:
        """Makes stream and consumer again if they are missing, or if the consumer passes over what the stream holds.

        Raises:
            HubUnreachable: it could not.
        """
        await self._prepare()
        if await self._held("*") > await self._pending():  # as after a power cut of the server
            log.warning("consumer at the hub made anew, it passed over mail", host=self.host)
            await self.renew()

    async def renew(self) -> None:
        """Makes the consumer anew, so that what was delivered to an earlier relay of this host comes at once.

        Raises:
            HubUnreachable: it could not.
        """
        await self._api(f"CONSUMER.DELETE.{self._stream}.{self.host}", {}, may_be_missing=True)
        await self._prepare()

    async def acknowledge(self, delivery: Delivery) -> None:
        """Tells the hub that a batch is stored, or not wanted."""
        await self._answer(delivery, b"+ACK")

    async def put_off(self, delivery: Delivery, delay_sec: float) -> None:
        """Asks the hub to deliver a batch again later."""
        await self._answer(delivery, f'-NAK {{"delay": {int(delay_sec * 1e9)}}}'.encode())

    async def _answer(self, delivery: Delivery, answer: bytes) -> None:
        with suppress(NatsError, OSError):  # otherwise it comes again
            await self._client.publish(delivery.reply, answer)

    async def is_idle(self, sender: str) -> bool:
        """Returns whether nothing of a host waits for this one: what others sent may have to wait for long.

        Raises:
            HubUnreachable: the hub did not say.
        """
        return not await self._pending() or not await self._held(sender)

    async def _pending(self) -> int:
        """Returns how many batches wait for this host, or are delivered and not acknowledged."""
        info = await self._api(f"CONSUMER.INFO.{self._stream}.{self.host}", None)
        return int(info["num_pending"]) + int(info["num_ack_pending"])

    async def _held(self, sender: str) -> int:
        """Returns how many batches for this host the stream holds, of one host or of all ("*")."""
        filters = {"subjects_filter": f"mail.{self._file.shard}.{self.host}.{sender}"}
        info = await self._api(f"STREAM.INFO.{self._stream}", filters)
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        return sum(subjects.values())

    # -- hosts ----------------------------------------------------------------------------------------------------

    async def ask(self, host: str, data: bytes) -> bytes | None:
        """Returns another host's answer; None if it does not give one."""
        try:
            reply = await self._client.request(f"ask.{host}.{self.host}", data, timeout=ASK_SEC)
        except (NatsError, OSError, TimeoutError):
            return None
        return reply.data or None

    async def tell(self, host: str, data: bytes) -> None:
        """Sends something to another host that may get lost."""
        with suppress(NatsError, OSError):
            await self._client.publish(f"ask.{host}.{self.host}", data)

    async def say_hello(self) -> None:
        """Tells every host that this one has started."""
        with suppress(NatsError, OSError):
            await self._client.publish(f"hello.{self.host}", b"")

    async def put_record(self, bucket: str, data: bytes) -> None:
        """Writes this host's record.

        Raises:
            HubUnreachable: it may have been written, or not.
        """
        await self._request(f"$KV.{bucket}.{self.host}", data, {})

    async def record_names(self, bucket: str) -> list[str]:
        """Returns the hosts that have records.

        Raises:
            HubUnreachable: the hub did not give them.
        """
        prefix = f"$KV.{bucket}."
        info = await self._api(f"STREAM.INFO.KV_{bucket}", {"subjects_filter": f"{prefix}>"})
        return [str(subject).removeprefix(prefix) for subject in info["state"].get("subjects") or ()]

    async def record(self, bucket: str, host: str) -> StoredRecord | None:
        """Returns the record of a host; None if it has none.

        Raises:
            HubUnreachable: the hub did not give it.
        """
        subject = f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{host}"
        try:
            message: Msg = await self._client.request(subject, b"", REQUEST_SEC)
        except (NatsError, OSError, TimeoutError) as error:
            raise HubUnreachable(_describe(error)) from error
        return record_of(message)

    # -- parts ----------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        async def changed() -> None:
            self._on_change()

        async def failed(error: Exception) -> None:
            if not self.is_connected:
                self._report(error)

        hub_file = self._file
        tls = ssl.create_default_context(cafile=hub_file.ca or None) if _uses_tls(hub_file) else None
        self._client = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
            servers=hub_file.servers,
            name=f"mailroomd {hub_file.host}",
            user=hub_file.user or None,
            password=hub_file.password or None,
            tls=tls,
            inbox_prefix=f"_INBOX_{hub_file.host}".encode(),
            connect_timeout=5,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SEC,
            ping_interval=20,
            max_outstanding_pings=2,
            disconnected_cb=changed,
            reconnected_cb=changed,
            error_cb=failed,
        )
        if self._client.max_payload < NEEDED_PAYLOAD:
            raise HubUnreachable(
                f"the hub takes {self._client.max_payload:,} bytes at once, and Mailroom needs {NEEDED_PAYLOAD:,}: "
                "set max_payload to 4MB in its configuration"
            )
        await self._listen()

    async def _listen(self) -> None:
        """Subscribes to what other hosts ask and tell."""

        async def respond(sender: str, message: Msg) -> None:
            answer = await self._on_ask(sender, message.data)
            if message.reply and answer is not None:
                with suppress(NatsError, OSError):
                    await message.respond(answer)

        async def asked(message: Msg) -> None:
            sender = message.subject.rsplit(".", 1)[-1]
            if sender != self.host and len(self._answering) >= MAX_ANSWERS:
                return  # it asks again
            task = asyncio.create_task(respond(sender, message))  # an answer that waits for the hub delays no other one
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

        async def greeted(message: Msg) -> None:
            host = message.subject.removeprefix("hello.")
            if host != self.host:
                await self._on_hello(host)

        await self._client.subscribe(f"ask.{self.host}.*", cb=asked)
        await self._client.subscribe("hello.*", cb=greeted)

    async def _prepare(self) -> None:
        """Makes what is missing: the streams, which the first host makes, and this host's consumer."""
        await self._ensure_stream(self._stream, mail_config(self._stream, self._file.shard))
        for name, bucket in BUCKETS.items():
            await self._ensure_stream(f"KV_{name}", bucket_config(name, bucket))
        config = consumer_config(self.host, self._file.shard)
        body = {"stream_name": self._stream, "config": config}
        await self._api(f"CONSUMER.CREATE.{self._stream}.{self.host}.{config['filter_subject']}", body)

    async def _ensure_stream(self, name: str, config: dict[str, Any]) -> None:
        if await self._api(f"STREAM.INFO.{name}", None, may_be_missing=True) is None:
            await self._api(f"STREAM.CREATE.{name}", {**config, "num_replicas": copies(self._file.servers)})

    async def _api(self, name: str, body: object, *, may_be_missing: bool = False) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        return await self._request(f"$JS.API.{name}", data, {}, may_be_missing=may_be_missing)

    async def _request(
        self, subject: str, data: bytes, headers: dict[str, str], *, may_be_missing: bool = False
    ) -> Any:
        try:
            reply = await self._client.request(subject, data, timeout=REQUEST_SEC, headers=headers or None)
            answer = json.loads(reply.data)
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            raise HubUnreachable(_describe(error)) from error
        if "error" in answer:
            if may_be_missing and answer["error"].get("code") == NOT_FOUND:
                return None
            raise HubUnreachable(str(answer["error"].get("description", answer["error"])))
        return answer


_PULL = {
    "batch": UNACKNOWLEDGED_BATCHES,
    "max_bytes": PULL_BYTES,
    "expires": int(PULL_SEC * 1e9),
    "idle_heartbeat": int(HEARTBEAT_SEC * 1e9),
}


def _unused(message: Msg, status: int) -> int:
    """Returns how many batches of a pull that is over will not come. A cluster says so before the last ones arrive.

    Raises:
        HubUnreachable: the hub does not say; the last ones may be lost.
    """
    if status in (NOT_FOUND, NO_RESPONDERS):
        raise HubUnreachable("the hub has no consumer for this host")
    headers = message.headers or {}
    if "Nats-Pending-Messages" not in headers:
        raise HubUnreachable(f"the hub has ended a pull: {headers.get('Description', status)}")
    return int(headers["Nats-Pending-Messages"])


def _uses_tls(hub_file: HubFile) -> bool:
    return bool(hub_file.ca) or any(server.startswith("tls://") for server in hub_file.servers)


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
