"""AccessOptions, SendOptions, … — the keyword arguments that both clients share, each declared once."""

__all__ = ["AccessOptions", "ListOptions", "SendOptions", "Span", "SubscribeOptions"]

from collections.abc import Callable, Mapping
from datetime import timedelta
from os import PathLike
from typing import Any, TypeAlias, TypedDict

from mailroom.errors import MailroomError
from mailroom.states import Priority

Span: TypeAlias = float | timedelta  # a length of time; a number means seconds


class AccessOptions(TypedDict, total=False):
    """What a client shows the daemon; what is left out is looked up in the environment, then done without.

    Attributes:
        token: the token's text; MAILROOM_TOKEN.
        token_file: a file that holds it; MAILROOM_TOKEN_FILE.
        tls_ca: a file with the authorities (PEM) that vouch for the daemon, for TLS over TCP; MAILROOM_TLS_CA.
        tls_cert: a file with this client's certificate chain (PEM), for mutual TLS; MAILROOM_TLS_CLIENT_CERT.
        tls_key: a file with its private key (PEM); MAILROOM_TLS_CLIENT_KEY.
    """

    token: str | None
    token_file: str | PathLike[str] | None
    tls_ca: str | PathLike[str] | None
    tls_cert: str | PathLike[str] | None
    tls_key: str | PathLike[str] | None


class SendOptions(TypedDict, total=False):
    """What may be said about a message.

    Attributes:
        sender: defaults to the client's own, then to MAILROOM_AGENT.
        type: "text" by default.
        metadata: a JSON object.
        thread_id: ties messages together.
        in_reply_to: the id of the message this one answers.
        priority: "low", "normal", "high" or "urgent".
        ttl: after this time an unread message expires: it leaves the inbox, and its sender gets a receipt.
        idempotency_key: sends with the same key are one message; made up for each call when left out.
    """

    sender: str | None
    type: str
    metadata: Mapping[str, Any] | None
    thread_id: str | None
    in_reply_to: str | None
    priority: Priority | str | None
    ttl: Span | None
    idempotency_key: str | None


class ListOptions(TypedDict, total=False):
    """Which messages of a mailbox to list.

    Attributes:
        unread_only: leave out what is read.
        thread_id: only this thread.
        query: full-text search in the content: all of the words, in any order and case; "several words" in quotes are a
            phrase, and a word that ends in * is the beginning of one.
        page_size: messages on one page.
    """

    unread_only: bool
    thread_id: str | None
    query: str | None
    page_size: int | None


class SubscribeOptions(TypedDict, total=False):
    """What a subscription shows.

    Attributes:
        all_agents: every mailbox; implies observe.
        after_id: start behind this event instead of now; "0" times 16 is the very beginning.
        include_unread: start with what is unread; not together with after_id.
        include_receipts: also what becomes of messages that this agent sent.
        observe: look on: hands nothing over, is no presence.
        caught_up: also yield CaughtUp, at the end of each replay.
        on_interrupted: called with the reason each time the stream broke and will be resumed.
    """

    all_agents: bool
    after_id: str | None
    include_unread: bool
    include_receipts: bool
    observe: bool
    caught_up: bool
    on_interrupted: Callable[[MailroomError], None] | None
