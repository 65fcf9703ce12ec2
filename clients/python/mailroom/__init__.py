"""Mailroom — the Python client of the mail room: send, watch, check and acknowledge messages between agents.

`Mailroom` blocks, `AsyncMailroom` is for asyncio; both find the daemon by themselves, retry what may be retried and
raise `MailroomError`s. Names are loaded when first used (PEP 562), so that importing `mailroom.v1` costs nothing more.
Not here: the daemon (`mailroomd`), the generated code of the contract (`mailroom.v1`).
"""

TYPE_CHECKING = False  # what typing has under this name: importing it would be a good part of a hook's time
if TYPE_CHECKING:
    from mailroom.agents import AgentInfo
    from mailroom.aio import AsyncMailroom
    from mailroom.blocking import Mailroom
    from mailroom.drafts import Draft
    from mailroom.errors import (
        AlreadyExists,
        ClientClosed,
        DaemonNotRunning,
        DeadlineExceeded,
        InvalidArgument,
        MailroomError,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        TlsFailed,
        Unauthenticated,
        Unavailable,
    )
    from mailroom.events import CaughtUp, CommandResponse, Event, Receipt
    from mailroom.messages import (
        Acknowledgement,
        Delivery,
        Inbox,
        Message,
        MessagePage,
        SendOutcome,
        SentMessage,
        TrackedMessage,
    )
    from mailroom.states import DeliveryState, Health, Priority
    from mailroom.stats import MailboxStats, MetricSample, QueueStats, Status, WorkerStatus
    from mailroom.subscriptions import AsyncSubscription, Subscription

__all__ = [
    "Acknowledgement",
    "AgentInfo",
    "AlreadyExists",
    "AsyncMailroom",
    "AsyncSubscription",
    "CaughtUp",
    "ClientClosed",
    "CommandResponse",
    "DaemonNotRunning",
    "DeadlineExceeded",
    "Delivery",
    "DeliveryState",
    "Draft",
    "Event",
    "Health",
    "Inbox",
    "InvalidArgument",
    "MailboxStats",
    "Mailroom",
    "MailroomError",
    "Message",
    "MessagePage",
    "MetricSample",
    "NotFound",
    "PermissionDenied",
    "Priority",
    "QueueStats",
    "Receipt",
    "ResourceExhausted",
    "SendOutcome",
    "SentMessage",
    "Status",
    "Subscription",
    "TlsFailed",
    "TrackedMessage",
    "Unauthenticated",
    "Unavailable",
    "WorkerStatus",
]

_EXPORTS = {
    "agents": "AgentInfo",
    "aio": "AsyncMailroom",
    "blocking": "Mailroom",
    "drafts": "Draft",
    "errors": (
        "AlreadyExists ClientClosed DaemonNotRunning DeadlineExceeded InvalidArgument MailroomError NotFound "
        "PermissionDenied ResourceExhausted TlsFailed Unauthenticated Unavailable"
    ),
    "events": "CaughtUp CommandResponse Event Receipt",
    "messages": "Acknowledgement Delivery Inbox Message MessagePage SendOutcome SentMessage TrackedMessage",
    "states": "DeliveryState Health Priority",
    "stats": "MailboxStats MetricSample QueueStats Status WorkerStatus",
    "subscriptions": "AsyncSubscription Subscription",
}
_MODULES = {name: f"mailroom.{module}" for module, names in _EXPORTS.items() for name in names.split()}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'mailroom' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
