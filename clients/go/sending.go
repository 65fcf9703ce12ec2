package mailroom

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

var (
	sendMessage      = mailbox(pb.MailboxServiceClient.SendMessage)
	broadcastMessage = mailbox(pb.MailboxServiceClient.BroadcastMessage)
)

// Send sends one message to an agent, a session or agent@team, and returns once it is durable. Its repetitions share one key and
// never double it. What several goroutines send at the same time shares a stream; each has its own deadline, error and cancellation.
func (c *Client) Send(ctx context.Context, to, content string, options ...SendOption) (*Sent, error) {
	request, err := draftRequest(NewDraft(to, content, options...), c.sender)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, request)
}

func (c *Client) send(ctx context.Context, request *pb.SendMessageRequest) (*Sent, error) {
	var sent *Sent
	err := c.run(ctx, 0, func(ctx context.Context) error {
		var err error
		sent, err = c.pipeline.send(ctx, request)
		return err
	})
	if err != nil {
		return nil, keyed(err, request.GetIdempotencyKey())
	}
	return sent, nil
}

// Reply answers a message: to its sender, and in its thread if it has one. It is sent under the name of the option [From], else of the
// client, else under the name that the message was sent to.
//
// With [AndAcknowledge], a Sent beside an error says that the reply is durable, but the message could not be marked read.
func (c *Client) Reply(ctx context.Context, message *Message, content string, options ...ReplyOption) (*Sent, error) {
	fields := replyFields{message: messageFields{thread: message.ThreadID}}
	for _, option := range options {
		option.applyToReply(&fields)
	}
	fields.message.inReplyTo = message.ID
	sender := c.sender
	if sender == nil {
		sender = &message.Recipient
	}
	request, err := messageRequest(message.Sender, content, fields.message, sender)
	if err != nil {
		return nil, err
	}
	sent, err := c.send(ctx, request)
	if err == nil && fields.acknowledge {
		_, _, err = c.Acknowledge(ctx, message.Recipient, message.ID)
	}
	return sent, err
}

// Broadcast sends an independent copy to each recipient, 1,000 at most. It returns the outcomes in the order of the recipients,
// failures included.
func (c *Client) Broadcast(ctx context.Context, recipients []string, content string, options ...SendOption) ([]Outcome, error) {
	draft, err := draftRequest(NewDraft("", content, options...), c.sender)
	if err != nil {
		return nil, err
	}
	for _, recipient := range recipients {
		if err := checkText("recipients", recipient); err != nil {
			return nil, err
		}
	}
	request := &pb.BroadcastMessageRequest{Recipients: recipients, Message: draft}
	if proto.Size(request) > maxRequestBytes {
		return nil, invalid(ErrRequestTooLarge, "recipients", "the names of the recipients are too long for one request: use several")
	}
	response, err := call(ctx, c, 0, broadcastMessage, request)
	if err != nil {
		return nil, keyed(err, draft.GetIdempotencyKey())
	}
	outcomes := make([]Outcome, len(recipients))
	for i, recipient := range recipients {
		outcomes[i] = outcomeFrom(recipient, resultAt(response.GetResults(), i))
	}
	return outcomes, nil
}

// resultAt returns nil for a result that a response lacks.
func resultAt(results []*pb.SendResult, index int) *pb.SendResult {
	if index < len(results) {
		return results[index]
	}
	return nil
}

// keyed returns the error with the key of the send that failed.
func keyed(err error, key string) error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure.withKey(key)
	}
	return err
}
