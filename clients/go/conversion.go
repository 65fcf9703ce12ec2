package mailroom

import (
	"encoding/json"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

func messageFrom(message *pb.Message) *Message {
	priority := Priority(message.GetPriority())
	if priority == Priority(pb.Priority_PRIORITY_UNSPECIFIED) {
		priority = Normal
	}
	return &Message{
		ID: message.GetId(), Recipient: message.GetRecipient(), Sender: message.GetSender(), Content: message.GetContent(),
		Type: message.GetType(), Metadata: message.GetMetadata().AsMap(), Time: timeFrom(message.GetTimestamp()), Read: message.GetRead(),
		ThreadID: message.GetThreadId(), InReplyTo: message.GetInReplyTo(), Priority: priority,
		ExpiresAt: timeFrom(message.GetExpiresAt()), ReplyBy: timeFrom(message.GetReplyBy()), State: State(message.GetState()),
		SenderVerified: message.GetSenderVerified(), ContentSize: message.GetContentSize(),
	}
}

func messagesFrom(messages []*pb.Message) []*Message { return mapped(messages, messageFrom) }

func deliveryFrom(delivery *pb.Delivery) Delivery {
	return Delivery{
		State: State(delivery.GetState()), InboxFileError: delivery.GetInboxFileError(), TeamInboxError: delivery.GetTeamInboxError(),
		Subscribers: int(delivery.GetSubscribers()), RecipientKnown: delivery.GetRecipientKnown(),
		RecipientLastSeen: timeFrom(delivery.GetRecipientLastSeen()), Reason: delivery.GetReason(),
		AlsoAt: delivery.GetAlsoAt(),
	}
}

func sentFrom(response *pb.SendMessageResponse) *Sent {
	return &Sent{Message: messageFrom(response.GetMessage()), Delivery: deliveryFrom(response.GetDelivery())}
}

// outcomeFrom converts the result for one message of a broadcast or a batch.
func outcomeFrom(recipient string, result *pb.SendResult) Outcome {
	if sent := result.GetOk(); sent != nil {
		return Outcome{Recipient: recipient, Sent: sentFrom(sent)}
	}
	failure := result.GetError()
	if failure == nil {
		failure = &pb.SendError{Code: int32(codes.Internal), Message: "the daemon's response has no result for this message"}
	}
	return Outcome{Recipient: recipient, Err: &Error{
		Code: codes.Code(failure.GetCode()), Reason: Reason(failure.GetReason()), Message: failure.GetMessage(), Field: failure.GetField(),
		RetryAfter: failure.GetRetryDelay().AsDuration(),
	}}
}

func receiptFrom(receipt *pb.Receipt, eventID string) *Receipt {
	return &Receipt{
		MessageID: receipt.GetMessageId(), Recipient: receipt.GetRecipient(), State: State(receipt.GetState()),
		Time: timeFrom(receipt.GetTimestamp()), By: receipt.GetBy(), Reason: receipt.GetReason(),
		eventID: eventID,
	}
}

func responseFrom(response *pb.CommandResponse, eventID string) *Response {
	body := json.RawMessage(response.GetBodyJson())
	if response.GetBody() != nil || len(body) == 0 {
		body, _ = json.Marshal(response.GetBody().AsMap()) // it was JSON in the outbox
	}
	return &Response{
		SessionID: response.GetSessionId(), FileName: response.GetFileName(), Body: body, Time: timeFrom(response.GetTimestamp()),
		eventID: eventID,
	}
}

func trackedFrom(response *pb.GetMessageResponse) *Tracked {
	history := mapped(response.GetHistory(), func(receipt *pb.Receipt) *Receipt { return receiptFrom(receipt, "") })
	return &Tracked{Message: messageFrom(response.GetMessage()), Delivery: deliveryFrom(response.GetDelivery()), History: history}
}

func agentFrom(agent *pb.AgentInfo) *Agent {
	return &Agent{
		Name: agent.GetName(), Alive: agent.GetAlive(), LastSeen: timeFrom(agent.GetLastSeen()), Subscribers: int(agent.GetSubscribers()),
		Unread: agent.GetUnread(), Sessions: agent.GetSessions(), Host: agent.GetHost(),
	}
}

func mailboxStatsFrom(stats *pb.MailboxStats) *MailboxStats {
	return &MailboxStats{
		Agent: stats.GetAgentId(), Total: stats.GetTotal(), Unread: stats.GetUnread(),
		OldestUnreadAge: seconds(stats.GetOldestUnreadAgeSec()), Subscribers: int(stats.GetSubscribers()),
		LastSeen: timeFrom(stats.GetLastSeen()),
	}
}

func queueStatsFrom(stats *pb.QueueStats) *QueueStats {
	return &QueueStats{Session: stats.GetSessionId(), Pending: stats.GetPendingCount(), OldestAge: seconds(stats.GetOldestAgeSec())}
}

func statusFrom(response *pb.GetStatusResponse) *Status {
	workers := mapped(response.GetWorkers(), func(worker *pb.WorkerStatus) Worker {
		return Worker{
			Name: worker.GetName(), PID: int(worker.GetPid()), State: worker.GetState(), Restarts: int(worker.GetRestarts()),
			StartedAt: timeFrom(worker.GetStartedAt()), LastExit: worker.GetLastExit(),
		}
	})
	return &Status{
		Version: response.GetVersion(), StartedAt: timeFrom(response.GetStartedAt()), Workers: workers,
		KeepRead: response.GetKeepRead().AsDuration(), MaxUnread: response.GetMaxUnread(),
		Hub: hubFrom(response.GetHub()),
	}
}

func hubFrom(hub *pb.HubStatus) *Hub {
	if hub == nil {
		return nil
	}
	hosts := mapped(hub.GetHosts(), func(host *pb.HostStatus) Host {
		return Host{
			Name: host.GetName(), LastSeen: timeFrom(host.GetLastSeen()), Waiting: host.GetWaiting(),
			WaitingBytes: host.GetWaitingBytes(), Problem: host.GetProblem(),
		}
	})
	return &Hub{
		Host: hub.GetHost(), Connected: hub.GetConnected(), LastContact: timeFrom(hub.GetLastContact()), Problem: hub.GetProblem(),
		Hosts: hosts,
	}
}

func metricFrom(sample *pb.MetricSample) Metric {
	return Metric{Name: sample.GetName(), Labels: sample.GetLabels(), Value: sample.GetValue()}
}

func timeFrom(timestamp *timestamppb.Timestamp) time.Time {
	if timestamp == nil {
		return time.Time{}
	}
	return timestamp.AsTime()
}

func seconds(count int64) time.Duration { return time.Duration(count) * time.Second }

func mapped[From, To any](items []From, convert func(From) To) []To {
	converted := make([]To, len(items))
	for i, item := range items {
		converted[i] = convert(item)
	}
	return converted
}

func trafficFrom(response *pb.GetTrafficResponse) *Traffic {
	pairs := mapped(response.GetPairs(), func(pair *pb.PairTraffic) PairTraffic {
		return PairTraffic{Sender: pair.GetSender(), Recipient: pair.GetRecipient(), Messages: pair.GetMessages()}
	})
	return &Traffic{Pairs: pairs, Since: timeFrom(response.GetSince()), Messages: response.GetMessages()}
}
