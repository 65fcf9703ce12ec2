"""Mailroom — durable messages between software agents on one machine: the Python client.

    from mailroom import Mailroom

    with Mailroom(sender="dashboard") as client:
        sent = client.send("reviewer", "Please look at pull request 12.")
        for message in client.check_inbox("dashboard"):
            print(message.sender, message.content)

`Mailroom` is the blocking client, `AsyncMailroom` its twin for asyncio. Both locate the daemon, retry what is safe to
retry, and raise a `MailroomError` for everything else. Names are loaded on first use (PEP 562), so that importing
`mailroom.v1` alone stays cheap. Not here: the daemon (`mailroomd`) and the generated code of the contract
(`mailroom.v1`).
"""

TYPE_CHECKING = False  # same name as in typing, whose import would take a good part of a hook's run time
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
    from mailroom.events import CaughtUp, CommandResponse, Event
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
    from mailroom.receipts import Receipt
    from mailroom.states import DeliveryState, Health, Priority
    from mailroom.stats import (
        HostStatus,
        HubStatus,
        MailboxStats,
        MetricSample,
        PairTraffic,
        QueueStats,
        Status,
        Traffic,
        WorkerStatus,
    )
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
    "HostStatus",
    "HubStatus",
    "Inbox",
    "InvalidArgument",
    "MailboxStats",
    "Mailroom",
    "MailroomError",
    "Message",
    "MessagePage",
    "MetricSample",
    "NotFound",
    "PairTraffic",
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
    "Traffic",
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
    "events": "CaughtUp CommandResponse Event",
    "messages": "Acknowledgement Delivery Inbox Message MessagePage SendOutcome SentMessage TrackedMessage",
    "receipts": "Receipt",
    "states": "DeliveryState Health Priority",
    "stats": "HostStatus HubStatus MailboxStats MetricSample PairTraffic QueueStats Status Traffic WorkerStatus",
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
