import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_URGENT: _ClassVar[Priority]

class DeliveryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_STATE_UNSPECIFIED: _ClassVar[DeliveryState]
    DELIVERY_STATE_STORED: _ClassVar[DeliveryState]
    DELIVERY_STATE_FILED: _ClassVar[DeliveryState]
    DELIVERY_STATE_OFFERED: _ClassVar[DeliveryState]
    DELIVERY_STATE_READ: _ClassVar[DeliveryState]
    DELIVERY_STATE_EXPIRED: _ClassVar[DeliveryState]
    DELIVERY_STATE_OVERDUE: _ClassVar[DeliveryState]
    DELIVERY_STATE_RETURNED: _ClassVar[DeliveryState]
    DELIVERY_STATE_QUEUED: _ClassVar[DeliveryState]
    DELIVERY_STATE_FORWARDED: _ClassVar[DeliveryState]

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_MALFORMED: _ClassVar[ErrorReason]
    ERROR_REASON_RECIPIENT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SENDER_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_AGENT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_CONTENT_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_TYPE_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_THREAD_ID_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_QUERY_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_METADATA_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_METADATA_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_METADATA_TOO_DEEP: _ClassVar[ErrorReason]
    ERROR_REASON_MESSAGE_ID_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_PRIORITY_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_TTL_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_REPLY_BY_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_WAIT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_LIMIT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_PAGE_TOKEN_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_AFTER_ID_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_IDEMPOTENCY_KEY_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_OPTIONS_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY: _ClassVar[ErrorReason]
    ERROR_REASON_IDEMPOTENCY_KEY_REUSED: _ClassVar[ErrorReason]
    ERROR_REASON_MESSAGE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_HOST_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_AGENT_ELSEWHERE: _ClassVar[ErrorReason]
    ERROR_REASON_ALIAS_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_MISSING: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_TOKEN_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_YOURS: _ClassVar[ErrorReason]
    ERROR_REASON_ADMIN_ONLY: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_MAILBOX_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_STORAGE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_LOOP_GUARD: _ClassVar[ErrorReason]
    ERROR_REASON_RATE_LIMITED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_WAITING: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_STREAMS: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_BYTES: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_ALIASES: _ClassVar[ErrorReason]
    ERROR_REASON_HOST_BACKLOG_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_WORKER_RESTARTING: _ClassVar[ErrorReason]
    ERROR_REASON_STOPPING: _ClassVar[ErrorReason]
    ERROR_REASON_STORAGE_FAILED: _ClassVar[ErrorReason]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
PRIORITY_URGENT: Priority
DELIVERY_STATE_UNSPECIFIED: DeliveryState
DELIVERY_STATE_STORED: DeliveryState
DELIVERY_STATE_FILED: DeliveryState
DELIVERY_STATE_OFFERED: DeliveryState
DELIVERY_STATE_READ: DeliveryState
DELIVERY_STATE_EXPIRED: DeliveryState
DELIVERY_STATE_OVERDUE: DeliveryState
DELIVERY_STATE_RETURNED: DeliveryState
DELIVERY_STATE_QUEUED: DeliveryState
DELIVERY_STATE_FORWARDED: DeliveryState
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_REQUEST_MALFORMED: ErrorReason
ERROR_REASON_RECIPIENT_INVALID: ErrorReason
ERROR_REASON_SENDER_INVALID: ErrorReason
ERROR_REASON_AGENT_INVALID: ErrorReason
ERROR_REASON_SESSION_INVALID: ErrorReason
ERROR_REASON_CONTENT_TOO_LARGE: ErrorReason
ERROR_REASON_TYPE_TOO_LONG: ErrorReason
ERROR_REASON_THREAD_ID_TOO_LONG: ErrorReason
ERROR_REASON_QUERY_TOO_LONG: ErrorReason
ERROR_REASON_METADATA_INVALID: ErrorReason
ERROR_REASON_METADATA_TOO_LARGE: ErrorReason
ERROR_REASON_METADATA_TOO_DEEP: ErrorReason
ERROR_REASON_MESSAGE_ID_INVALID: ErrorReason
ERROR_REASON_PRIORITY_INVALID: ErrorReason
ERROR_REASON_TTL_INVALID: ErrorReason
ERROR_REASON_REPLY_BY_INVALID: ErrorReason
ERROR_REASON_WAIT_INVALID: ErrorReason
ERROR_REASON_LIMIT_INVALID: ErrorReason
ERROR_REASON_PAGE_TOKEN_INVALID: ErrorReason
ERROR_REASON_AFTER_ID_INVALID: ErrorReason
ERROR_REASON_IDEMPOTENCY_KEY_INVALID: ErrorReason
ERROR_REASON_OPTIONS_CONFLICT: ErrorReason
ERROR_REASON_TOO_MANY: ErrorReason
ERROR_REASON_IDEMPOTENCY_KEY_REUSED: ErrorReason
ERROR_REASON_MESSAGE_NOT_FOUND: ErrorReason
ERROR_REASON_HOST_UNKNOWN: ErrorReason
ERROR_REASON_AGENT_ELSEWHERE: ErrorReason
ERROR_REASON_ALIAS_CONFLICT: ErrorReason
ERROR_REASON_TOKEN_MISSING: ErrorReason
ERROR_REASON_TOKEN_INVALID: ErrorReason
ERROR_REASON_TOKEN_EXPIRED: ErrorReason
ERROR_REASON_NOT_YOURS: ErrorReason
ERROR_REASON_ADMIN_ONLY: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_MAILBOX_FULL: ErrorReason
ERROR_REASON_STORAGE_FULL: ErrorReason
ERROR_REASON_LOOP_GUARD: ErrorReason
ERROR_REASON_RATE_LIMITED: ErrorReason
ERROR_REASON_TOO_MANY_WAITING: ErrorReason
ERROR_REASON_TOO_MANY_STREAMS: ErrorReason
ERROR_REASON_TOO_MANY_BYTES: ErrorReason
ERROR_REASON_TOO_MANY_ALIASES: ErrorReason
ERROR_REASON_HOST_BACKLOG_FULL: ErrorReason
ERROR_REASON_WORKER_RESTARTING: ErrorReason
ERROR_REASON_STOPPING: ErrorReason
ERROR_REASON_STORAGE_FAILED: ErrorReason

class Message(_message.Message):
    __slots__ = ("id", "recipient", "sender", "content", "type", "timestamp", "read", "metadata", "thread_id", "in_reply_to", "priority", "expires_at", "state", "sender_verified", "reply_by", "content_size")
    ID_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    IN_REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SENDER_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    REPLY_BY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    id: str
    recipient: str
    sender: str
    content: str
    type: str
    timestamp: _timestamp_pb2.Timestamp
    read: bool
    metadata: _struct_pb2.Struct
    thread_id: str
    in_reply_to: str
    priority: Priority
    expires_at: _timestamp_pb2.Timestamp
    state: DeliveryState
    sender_verified: bool
    reply_by: _timestamp_pb2.Timestamp
    content_size: int
    def __init__(self, id: _Optional[str] = ..., recipient: _Optional[str] = ..., sender: _Optional[str] = ..., content: _Optional[str] = ..., type: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., read: _Optional[bool] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., thread_id: _Optional[str] = ..., in_reply_to: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., sender_verified: _Optional[bool] = ..., reply_by: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., content_size: _Optional[int] = ...) -> None: ...

class SendMessageRequest(_message.Message):
    __slots__ = ("recipient", "sender", "content", "type", "metadata", "thread_id", "in_reply_to", "priority", "ttl", "idempotency_key", "reply_by")
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    IN_REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REPLY_BY_FIELD_NUMBER: _ClassVar[int]
    recipient: str
    sender: str
    content: str
    type: str
    metadata: _struct_pb2.Struct
    thread_id: str
    in_reply_to: str
    priority: Priority
    ttl: _duration_pb2.Duration
    idempotency_key: str
    reply_by: _timestamp_pb2.Timestamp
    def __init__(self, recipient: _Optional[str] = ..., sender: _Optional[str] = ..., content: _Optional[str] = ..., type: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., thread_id: _Optional[str] = ..., in_reply_to: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., reply_by: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SendMessageResponse(_message.Message):
    __slots__ = ("message", "delivery")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    message: Message
    delivery: Delivery
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("state", "inbox_file_error", "team_inbox_error", "subscribers", "recipient_known", "recipient_last_seen", "reason", "also_at")
    STATE_FIELD_NUMBER: _ClassVar[int]
    INBOX_FILE_ERROR_FIELD_NUMBER: _ClassVar[int]
    TEAM_INBOX_ERROR_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_KNOWN_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ALSO_AT_FIELD_NUMBER: _ClassVar[int]
    state: DeliveryState
    inbox_file_error: str
    team_inbox_error: str
    subscribers: int
    recipient_known: bool
    recipient_last_seen: _timestamp_pb2.Timestamp
    reason: str
    also_at: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, state: _Optional[_Union[DeliveryState, str]] = ..., inbox_file_error: _Optional[str] = ..., team_inbox_error: _Optional[str] = ..., subscribers: _Optional[int] = ..., recipient_known: _Optional[bool] = ..., recipient_last_seen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., also_at: _Optional[_Iterable[str]] = ...) -> None: ...

class BroadcastMessageRequest(_message.Message):
    __slots__ = ("recipients", "message")
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    recipients: _containers.RepeatedScalarFieldContainer[str]
    message: SendMessageRequest
    def __init__(self, recipients: _Optional[_Iterable[str]] = ..., message: _Optional[_Union[SendMessageRequest, _Mapping]] = ...) -> None: ...

class BroadcastMessageResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SendResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SendResult, _Mapping]]] = ...) -> None: ...

class SendMessagesRequest(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[SendMessageRequest]
    def __init__(self, messages: _Optional[_Iterable[_Union[SendMessageRequest, _Mapping]]] = ...) -> None: ...

class SendMessagesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SendResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SendResult, _Mapping]]] = ...) -> None: ...

class SendResult(_message.Message):
    __slots__ = ("ok", "error")
    OK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ok: SendMessageResponse
    error: SendError
    def __init__(self, ok: _Optional[_Union[SendMessageResponse, _Mapping]] = ..., error: _Optional[_Union[SendError, _Mapping]] = ...) -> None: ...

class SendError(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_delay", "field")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    retry_delay: _duration_pb2.Duration
    field: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., field: _Optional[str] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("agent", "all_agents", "after_id", "include_unread", "include_receipts", "observe", "max_batch", "present", "preview_bytes")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    ALL_AGENTS_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_UNREAD_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_BYTES_FIELD_NUMBER: _ClassVar[int]
    agent: str
    all_agents: bool
    after_id: str
    include_unread: bool
    include_receipts: bool
    observe: bool
    max_batch: int
    present: bool
    preview_bytes: int
    def __init__(self, agent: _Optional[str] = ..., all_agents: _Optional[bool] = ..., after_id: _Optional[str] = ..., include_unread: _Optional[bool] = ..., include_receipts: _Optional[bool] = ..., observe: _Optional[bool] = ..., max_batch: _Optional[int] = ..., present: _Optional[bool] = ..., preview_bytes: _Optional[int] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("message", "receipt", "command_response", "caught_up", "going_away", "event_id", "events")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    GOING_AWAY_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    message: Message
    receipt: Receipt
    command_response: CommandResponse
    caught_up: CaughtUp
    going_away: GoingAway
    event_id: str
    events: _containers.RepeatedCompositeFieldContainer[SubscribeResponse]
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., command_response: _Optional[_Union[CommandResponse, _Mapping]] = ..., caught_up: _Optional[_Union[CaughtUp, _Mapping]] = ..., going_away: _Optional[_Union[GoingAway, _Mapping]] = ..., event_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[SubscribeResponse, _Mapping]]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("message_id", "recipient", "state", "timestamp", "by", "reason")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    recipient: str
    state: DeliveryState
    timestamp: _timestamp_pb2.Timestamp
    by: str
    reason: str
    def __init__(self, message_id: _Optional[str] = ..., recipient: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CommandResponse(_message.Message):
    __slots__ = ("session_id", "body", "file_name", "body_json", "timestamp")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    BODY_JSON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    body: _struct_pb2.Struct
    file_name: str
    body_json: str
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, session_id: _Optional[str] = ..., body: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., file_name: _Optional[str] = ..., body_json: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CaughtUp(_message.Message):
    __slots__ = ("last_id", "gap")
    LAST_ID_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    last_id: str
    gap: bool
    def __init__(self, last_id: _Optional[str] = ..., gap: _Optional[bool] = ...) -> None: ...

class GoingAway(_message.Message):
    __slots__ = ("last_id",)
    LAST_ID_FIELD_NUMBER: _ClassVar[int]
    last_id: str
    def __init__(self, last_id: _Optional[str] = ...) -> None: ...

class CheckInboxRequest(_message.Message):
    __slots__ = ("agent", "limit", "wait", "observe", "unoffered_only", "newest_first")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_FIELD_NUMBER: _ClassVar[int]
    UNOFFERED_ONLY_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    agent: str
    limit: int
    wait: _duration_pb2.Duration
    observe: bool
    unoffered_only: bool
    newest_first: bool
    def __init__(self, agent: _Optional[str] = ..., limit: _Optional[int] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., observe: _Optional[bool] = ..., unoffered_only: _Optional[bool] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class CheckInboxResponse(_message.Message):
    __slots__ = ("messages", "more")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    more: bool
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class MarkOfferedRequest(_message.Message):
    __slots__ = ("agent", "message_ids")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    agent: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class MarkOfferedResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AcknowledgeMessagesRequest(_message.Message):
    __slots__ = ("agent", "message_ids", "by")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    agent: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    by: str
    def __init__(self, agent: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ..., by: _Optional[str] = ...) -> None: ...

class AcknowledgeMessagesResponse(_message.Message):
    __slots__ = ("acknowledged_ids", "unknown_ids")
    ACKNOWLEDGED_IDS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_IDS_FIELD_NUMBER: _ClassVar[int]
    acknowledged_ids: _containers.RepeatedScalarFieldContainer[str]
    unknown_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, acknowledged_ids: _Optional[_Iterable[str]] = ..., unknown_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetMessageRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetMessageResponse(_message.Message):
    __slots__ = ("message", "delivery", "history")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    message: Message
    delivery: Delivery
    history: _containers.RepeatedCompositeFieldContainer[Receipt]
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ..., history: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ...) -> None: ...

class ListMessagesRequest(_message.Message):
    __slots__ = ("agent", "unread_only", "thread_id", "query", "page_size", "page_token", "sender", "states", "preview_bytes")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    UNREAD_ONLY_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_BYTES_FIELD_NUMBER: _ClassVar[int]
    agent: str
    unread_only: bool
    thread_id: str
    query: str
    page_size: int
    page_token: str
    sender: str
    states: _containers.RepeatedScalarFieldContainer[DeliveryState]
    preview_bytes: int
    def __init__(self, agent: _Optional[str] = ..., unread_only: _Optional[bool] = ..., thread_id: _Optional[str] = ..., query: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., sender: _Optional[str] = ..., states: _Optional[_Iterable[_Union[DeliveryState, str]]] = ..., preview_bytes: _Optional[int] = ...) -> None: ...

class ListMessagesResponse(_message.Message):
    __slots__ = ("messages", "next_page_token")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    next_page_token: str
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ClearMailboxRequest(_message.Message):
    __slots__ = ("agent", "by")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    agent: str
    by: str
    def __init__(self, agent: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class ClearMailboxResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class GetTrafficRequest(_message.Message):
    __slots__ = ("period",)
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    period: _duration_pb2.Duration
    def __init__(self, period: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetTrafficResponse(_message.Message):
    __slots__ = ("pairs", "since", "messages")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[PairTraffic]
    since: _timestamp_pb2.Timestamp
    messages: int
    def __init__(self, pairs: _Optional[_Iterable[_Union[PairTraffic, _Mapping]]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., messages: _Optional[int] = ...) -> None: ...

class PairTraffic(_message.Message):
    __slots__ = ("sender", "recipient", "messages")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    sender: str
    recipient: str
    messages: int
    def __init__(self, sender: _Optional[str] = ..., recipient: _Optional[str] = ..., messages: _Optional[int] = ...) -> None: ...

class GetMailboxStatsRequest(_message.Message):
    __slots__ = ("agent", "page_size", "page_token")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent: str
    page_size: int
    page_token: str
    def __init__(self, agent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetMailboxStatsResponse(_message.Message):
    __slots__ = ("mailboxes", "next_page_token")
    MAILBOXES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    mailboxes: _containers.RepeatedCompositeFieldContainer[MailboxStats]
    next_page_token: str
    def __init__(self, mailboxes: _Optional[_Iterable[_Union[MailboxStats, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class MailboxStats(_message.Message):
    __slots__ = ("agent_id", "total", "unread", "oldest_unread_age_sec", "subscribers", "last_seen")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    OLDEST_UNREAD_AGE_SEC_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    total: int
    unread: int
    oldest_unread_age_sec: int
    subscribers: int
    last_seen: _timestamp_pb2.Timestamp
    def __init__(self, agent_id: _Optional[str] = ..., total: _Optional[int] = ..., unread: _Optional[int] = ..., oldest_unread_age_sec: _Optional[int] = ..., subscribers: _Optional[int] = ..., last_seen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetQueueStatsRequest(_message.Message):
    __slots__ = ("session_id", "page_size", "page_token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    page_size: int
    page_token: str
    def __init__(self, session_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetQueueStatsResponse(_message.Message):
    __slots__ = ("queues", "next_page_token")
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    queues: _containers.RepeatedCompositeFieldContainer[QueueStats]
    next_page_token: str
    def __init__(self, queues: _Optional[_Iterable[_Union[QueueStats, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class QueueStats(_message.Message):
    __slots__ = ("session_id", "pending_count", "oldest_age_sec")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PENDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_SEC_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    pending_count: int
    oldest_age_sec: int
    def __init__(self, session_id: _Optional[str] = ..., pending_count: _Optional[int] = ..., oldest_age_sec: _Optional[int] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("agent", "session", "ttl")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    agent: str
    session: str
    ttl: _duration_pb2.Duration
    def __init__(self, agent: _Optional[str] = ..., session: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("expires_at",)
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("alive_only", "page_size", "page_token", "all_hosts")
    ALIVE_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ALL_HOSTS_FIELD_NUMBER: _ClassVar[int]
    alive_only: bool
    page_size: int
    page_token: str
    all_hosts: bool
    def __init__(self, alive_only: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., all_hosts: _Optional[bool] = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("agents", "next_page_token")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[AgentInfo]
    next_page_token: str
    def __init__(self, agents: _Optional[_Iterable[_Union[AgentInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AgentInfo(_message.Message):
    __slots__ = ("name", "alive", "last_seen", "subscribers", "unread", "sessions", "host")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    name: str
    alive: bool
    last_seen: _timestamp_pb2.Timestamp
    subscribers: int
    unread: int
    sessions: _containers.RepeatedScalarFieldContainer[str]
    host: str
    def __init__(self, name: _Optional[str] = ..., alive: _Optional[bool] = ..., last_seen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., subscribers: _Optional[int] = ..., unread: _Optional[int] = ..., sessions: _Optional[_Iterable[str]] = ..., host: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "started_at", "workers", "keep_read", "max_unread", "hub")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    KEEP_READ_FIELD_NUMBER: _ClassVar[int]
    MAX_UNREAD_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    version: str
    started_at: _timestamp_pb2.Timestamp
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    keep_read: _duration_pb2.Duration
    max_unread: int
    hub: HubStatus
    def __init__(self, version: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., keep_read: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_unread: _Optional[int] = ..., hub: _Optional[_Union[HubStatus, _Mapping]] = ...) -> None: ...

class HubStatus(_message.Message):
    __slots__ = ("host", "connected", "last_contact", "problem", "hosts")
    HOST_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    LAST_CONTACT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    host: str
    connected: bool
    last_contact: _timestamp_pb2.Timestamp
    problem: str
    hosts: _containers.RepeatedCompositeFieldContainer[HostStatus]
    def __init__(self, host: _Optional[str] = ..., connected: _Optional[bool] = ..., last_contact: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[str] = ..., hosts: _Optional[_Iterable[_Union[HostStatus, _Mapping]]] = ...) -> None: ...

class HostStatus(_message.Message):
    __slots__ = ("name", "last_seen", "waiting", "waiting_bytes", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    WAITING_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    last_seen: _timestamp_pb2.Timestamp
    waiting: int
    waiting_bytes: int
    problem: str
    def __init__(self, name: _Optional[str] = ..., last_seen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., waiting: _Optional[int] = ..., waiting_bytes: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: _containers.RepeatedCompositeFieldContainer[MetricSample]
    def __init__(self, samples: _Optional[_Iterable[_Union[MetricSample, _Mapping]]] = ...) -> None: ...

class MetricSample(_message.Message):
    __slots__ = ("name", "labels", "value")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.ScalarMap[str, str]
    value: float
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., value: _Optional[float] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("name", "pid", "state", "restarts", "started_at", "last_exit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_EXIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    pid: int
    state: str
    restarts: int
    started_at: _timestamp_pb2.Timestamp
    last_exit: str
    def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., state: _Optional[str] = ..., restarts: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_exit: _Optional[str] = ...) -> None: ...
