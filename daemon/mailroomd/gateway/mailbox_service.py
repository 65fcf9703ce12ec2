"""MailboxService — the servicer of mailboxes: which method is carried out where.

Owns the refusal of new work while the daemon stops. Sending is `Sending`'s, an agent's own mail `Inbox`', looking
something up `Lookup`'s. Errors are raised as `MailroomError`; `handlers` makes statuses of them.
"""

__all__ = ["SERVICE", "MailboxService"]

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.handlers import Context, Handler, bidirectional, server_stream, unary
from mailroomd.gateway.inbox import Inbox
from mailroomd.gateway.inbox_census import InboxCensus
from mailroomd.gateway.lookup import Lookup
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient
from mailroomd.gateway.names import Names
from mailroomd.gateway.request_guard import Write
from mailroomd.gateway.requests import time_left, trace_of
from mailroomd.gateway.sending import Sending
from mailroomd.gateway.wakeups import Wakeups
from mailroomd.model.errors import stopping
from mailroomd.observability.metrics_block import MetricsBlock

SERVICE = "mailroom.v1.MailboxService"


class MailboxService:
    """The methods of mailroom.v1.MailboxService.

    Args:
        reader: reads mail.
        calls: asks the mailbox.
        wakeups: wake streams and waiting calls.
        names: says which mailboxes a name stands for.
        census: counts inbox files.
        metrics: the gateway's numbers.
    """

    def __init__(
        self,
        reader: MailReader,
        calls: MailboxClient,
        wakeups: Wakeups,
        names: Names,
        census: InboxCensus,
        metrics: MetricsBlock,
    ) -> None:
        self._wakeups = wakeups
        self._sending = Sending(calls, metrics)
        self._inbox = Inbox(reader, calls, wakeups, names, metrics, lambda: self._is_stopping)
        self._lookup = Lookup(reader, names, census)
        self._is_stopping = False

    def handlers(self) -> dict[str, Handler]:
        """Returns the handler of each method, by its name."""
        inbox, lookup = self._inbox, self._lookup
        return {
            "SendMessage": unary(pb.SendMessageRequest, self.send_message),
            "BroadcastMessage": unary(pb.BroadcastMessageRequest, self.broadcast_message),
            "SendMessages": bidirectional(pb.SendMessagesRequest, self.send_messages),
            "Subscribe": server_stream(pb.SubscribeRequest, self.subscribe),
            "CheckInbox": unary(pb.CheckInboxRequest, self.check_inbox),
            "MarkOffered": unary(pb.MarkOfferedRequest, inbox.mark_offered),
            "AcknowledgeMessages": unary(pb.AcknowledgeMessagesRequest, inbox.acknowledge_messages),
            "ClearMailbox": unary(pb.ClearMailboxRequest, inbox.clear_mailbox),
            "SetAlias": unary(pb.SetAliasRequest, inbox.set_alias),
            "GetMessage": unary(pb.GetMessageRequest, lookup.get_message),
            "ListMessages": unary(pb.ListMessagesRequest, lookup.list_messages),
            "GetMailboxStats": unary(pb.GetMailboxStatsRequest, lookup.get_mailbox_stats),
            "GetQueueStats": unary(pb.GetQueueStatsRequest, lookup.get_queue_stats),
            "ListAgents": unary(pb.ListAgentsRequest, lookup.list_agents),
        }

    def stop(self) -> None:
        """Takes nothing more in; streams and waiting calls say good-bye and end."""
        self._is_stopping = True
        self._wakeups.notify_all()

    async def send_message(self, request: pb.SendMessageRequest, context: Context) -> pb.SendMessageResponse:
        """Answers when the message is durable and filed, or durable and its file is being retried."""
        self._require_running()
        return await self._sending.send(request, time_left(context), trace=trace_of(context))

    async def broadcast_message(
        self, request: pb.BroadcastMessageRequest, context: Context
    ) -> pb.BroadcastMessageResponse:
        """Sends a copy to each recipient; one that fails does not stop the others."""
        self._require_running()
        return await self._sending.broadcast(request, time_left(context), trace_of(context))

    async def send_messages(self, request: pb.SendMessagesRequest, context: Context) -> pb.SendMessagesResponse:
        """Sends one batch of a bulk stream."""
        self._require_running()
        return await self._sending.send_batch(request, time_left(context), trace_of(context))

    async def subscribe(self, request: pb.SubscribeRequest, _: Context, write: Write) -> None:
        """Streams what reaches an agent."""
        self._require_running()
        await self._inbox.subscribe(request, write)

    async def check_inbox(self, request: pb.CheckInboxRequest, context: Context) -> pb.CheckInboxResponse:
        """Returns unread messages."""
        self._require_running()
        return await self._inbox.check_inbox(request, context)

    def _require_running(self) -> None:
        if self._is_stopping:
            raise stopping()
