"""MailboxService — the servicer of mailboxes: which method is handled where.

Owns the refusal of new work while the daemon stops. `Sending` sends, `Inbox` serves an agent's own mail, `Lookup` reads
everything else. They raise `MailroomError`, which `handlers` turns into statuses.
"""

__all__ = ["SERVICE", "MailboxService"]

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.alias_cache import AliasCache
from mailroomd.gateway.call import Call
from mailroomd.gateway.handlers import Handler, bidirectional, server_stream, unary
from mailroomd.gateway.inbox import Inbox
from mailroomd.gateway.inbox_census import InboxCensus
from mailroomd.gateway.lookup import Lookup
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient
from mailroomd.gateway.request_guard import Write
from mailroomd.gateway.request_types import BroadcastMessageRequest, SendMessageRequest, SendMessagesRequest
from mailroomd.gateway.requests import ListResponse
from mailroomd.gateway.sending import Sending
from mailroomd.gateway.wakeups import Wakeups
from mailroomd.model.errors import stopping
from mailroomd.observability.metrics_block import MetricsBlock

SERVICE = "mailroom.v1.MailboxService"


class MailboxService:
    """The methods of mailroom.v1.MailboxService.

    Args:
        reader: reads mail.
        client: sends requests to the mailbox.
        wakeups: wakes streams and waiting calls.
        aliases: resolves names.
        census: counts inbox files.
        metrics: the gateway's metrics.
    """

    def __init__(
        self,
        reader: MailReader,
        client: MailboxClient,
        wakeups: Wakeups,
        aliases: AliasCache,
        census: InboxCensus,
        metrics: MetricsBlock,
    ) -> None:
        self._wakeups = wakeups
        self._sending = Sending(client, metrics)
        self._inbox = Inbox(reader, client, wakeups, aliases, metrics, lambda: self._is_stopping)
        self._lookup = Lookup(reader, aliases, census)
        self._is_stopping = False

    def handlers(self) -> dict[str, Handler]:
        """Returns the handler of each method, by its name."""
        inbox, lookup = self._inbox, self._lookup
        return {
            "SendMessage": unary(SendMessageRequest, self.send_message),
            "BroadcastMessage": unary(BroadcastMessageRequest, self.broadcast_message),
            "SendMessages": bidirectional(SendMessagesRequest, self.send_messages),
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
        """Refuses new work from now on; streams and waiting calls end with the error `stopping`."""
        self._is_stopping = True
        self._wakeups.notify_all()

    async def send_message(self, request: pb.SendMessageRequest, call: Call) -> pb.SendMessageResponse:
        """Answers once the message is durable and filed, or durable while its inbox file is being retried."""
        self._require_running()
        return await self._sending.send(request, call)

    async def broadcast_message(self, request: pb.BroadcastMessageRequest, call: Call) -> pb.BroadcastMessageResponse:
        """Sends a copy to each recipient; a failed copy does not stop the others."""
        self._require_running()
        return await self._sending.broadcast(request, call)

    async def send_messages(self, request: pb.SendMessagesRequest, call: Call) -> pb.SendMessagesResponse:
        """Sends one batch of a bulk stream."""
        self._require_running()
        return await self._sending.send_batch(request, call)

    async def subscribe(self, request: pb.SubscribeRequest, call: Call, write: Write) -> None:
        """Streams an agent's events."""
        self._require_running()
        await self._inbox.subscribe(request, call, write)

    async def check_inbox(self, request: pb.CheckInboxRequest, call: Call) -> ListResponse:
        """Returns unread messages."""
        self._require_running()
        return await self._inbox.check_inbox(request, call)

    def _require_running(self) -> None:
        if self._is_stopping:
            raise stopping()
