"""Options — the keyword arguments that both clients share, each declared once."""

__all__ = ["AccessOptions", "Deadline", "ListOptions", "SendOptions", "Span", "SubscribeOptions"]

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from os import PathLike
from typing import Any, TypeAlias, TypedDict

from mailroom.errors import MailroomError
from mailroom.states import DeliveryState, Priority

Span: TypeAlias = float | timedelta  # a length of time; a number means seconds
Deadline: TypeAlias = datetime | Span  # a moment with its time zone, or the span from now until then


class AccessOptions(TypedDict, total=False):
    """A client's credentials. Each option defaults to an environment variable, then to none.

    Attributes:
        token: the token (MAILROOM_TOKEN).
        token_file: a file with the token (MAILROOM_TOKEN_FILE).
        tls_ca: a PEM file with the authorities that may issue the daemon's certificate; enables TLS over TCP
            (MAILROOM_TLS_CA).
        tls_cert: a PEM file with this client's certificate chain, for mutual TLS (MAILROOM_TLS_CLIENT_CERT).
        tls_key: a PEM file with the private key of `tls_cert` (MAILROOM_TLS_CLIENT_KEY).
    """

    token: str | None
    token_file: str | PathLike[str] | None
    tls_ca: str | PathLike[str] | None
    tls_cert: str | PathLike[str] | None
    tls_key: str | PathLike[str] | None


class SendOptions(TypedDict, total=False):
    """The optional fields of a message.

    Attributes:
        sender: the client's sender by default, then MAILROOM_AGENT.
        type: "text" by default.
        metadata: a JSON object.
        thread_id: groups messages into a thread.
        in_reply_to: the id of the message that this one answers.
        priority: "low", "normal", "high" or "urgent".
        ttl: the lifetime; a message still unread after it expires: it leaves the inbox, and its sender gets a receipt.
        reply_by: by when an answer is wanted, or how long from now. If the recipient has not answered then, the sender
            gets a receipt "overdue". Under an idempotency key the time of the first send holds.
        idempotency_key: repeated sends with the same key create one message; generated for each call by default.
    """

    sender: str | None
    type: str
    metadata: Mapping[str, Any] | None
    thread_id: str | None
    in_reply_to: str | None
    priority: Priority | str | None
    ttl: Span | None
    reply_by: Deadline | None
    idempotency_key: str | None


class ListOptions(TypedDict, total=False):
    """Which messages of a mailbox to list.

    Attributes:
        unread_only: skip messages that are read.
        thread_id: only messages of this thread.
        query: full-text search in the content. Matches messages that contain all of the words, in any order and case;
            "words in quotes" match as a phrase, and `word*` matches a prefix.
        page_size: the number of messages on a page.
        sender: only messages of this sender.
        states: only messages in one of these delivery states. Messages that were offered within the last second may be
            missing.
        preview_bytes: shorten each content to this number of bytes, and leave metadata out; `content_size` then has
            the size of the whole.
    """

    unread_only: bool
    thread_id: str | None
    query: str | None
    page_size: int | None
    sender: str | None
    states: "Iterable[DeliveryState | str] | None"
    preview_bytes: int | None


class SubscribeOptions(TypedDict, total=False):
    """The events of a subscription.

    Attributes:
        all_agents: every mailbox; implies `observe`.
        after_id: start after this event instead of now; sixteen zeros mean the very beginning.
        include_unread: start with the unread messages; excludes `after_id`.
        include_receipts: also yield the receipts of messages that this agent sent.
        observe: neither mark messages as offered nor count as presence of the agent.
        present: with `observe`, count as presence all the same: for a program that waits for mail to wake the agent.
        preview_bytes: with `observe` or `all_agents`, shorten each content to this number of bytes, and leave metadata
            out; `content_size` then has the size of the content.
        caught_up: also yield CaughtUp at the end of each replay.
        on_interrupted: called with the error each time the stream broke and will be resumed.
    """

    all_agents: bool
    after_id: str | None
    include_unread: bool
    include_receipts: bool
    observe: bool
    present: bool
    preview_bytes: int | None
    caught_up: bool
    on_interrupted: Callable[[MailroomError], None] | None
