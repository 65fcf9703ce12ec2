package mailroom

import (
	"context"
	"iter"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

// Subscribe returns an agent's events: from now on, from the unread messages ([Unread]), or after an event ([After]). It reconnects and
// resumes by itself, without gap or repeat, and it waits without limit for a daemon that has answered once.
//
// The stream is opened when the iteration starts, and a [CaughtUp] says that the replay is over: from then on nothing is missed.
// The sequence ends when the loop is left, when the context ends or when the client is closed; none of these yields an error. An
// error that is yielded cannot be resolved by a retry, and ends the sequence.
func (c *Client) Subscribe(ctx context.Context, agent string, options ...SubscribeOption) iter.Seq2[Event, error] {
	return c.subscribe(ctx, &pb.SubscribeRequest{Agent: agent}, options)
}

// SubscribeAll returns the events of every mailbox, with receipts and responses, for dashboards and audits. It marks nothing offered.
func (c *Client) SubscribeAll(ctx context.Context, options ...SubscribeOption) iter.Seq2[Event, error] {
	return c.subscribe(ctx, &pb.SubscribeRequest{AllAgents: true}, options)
}

func (c *Client) subscribe(ctx context.Context, request *pb.SubscribeRequest, options []SubscribeOption) iter.Seq2[Event, error] {
	var fields subscriptionFields
	for _, option := range options {
		option.applyToSubscription(&fields)
	}
	request.IncludeReceipts, request.Observe, request.MaxBatch = fields.receipts, fields.observe, maxEvents
	return func(yield func(Event, error) bool) {
		preview, err := countOf("preview_bytes", fields.preview)
		request.PreviewBytes = preview
		if err == nil {
			err = checkText("agent", request.GetAgent())
		}
		if err == nil {
			err = checkText("after_id", fields.after)
		}
		if err == nil && c.closing.Err() != nil {
			err = clientClosed()
		}
		if err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := c.bound(ctx)
		defer cancel()
		one := &subscription{
			client: c, request: request, cursor: cursor{after: fields.after, unread: fields.unread}, onInterrupted: fields.onInterrupted,
			retries: c.newRetries(time.Time{}),
		}
		one.run(ctx, yield)
	}
}

// A subscription owns one stream at a time, a cursor (no gaps, no repeats) and its retries (when to reconnect).
type subscription struct {
	client        *Client
	request       *pb.SubscribeRequest
	cursor        cursor
	retries       *retries
	onInterrupted func(error)
	isLive        bool // the present stream has brought something
}

// run yields events until the consumer stops, the context ends, or an error cannot be resolved.
func (s *subscription) run(ctx context.Context, yield func(Event, error) bool) {
	for ctx.Err() == nil {
		failure := s.converse(ctx, yield)
		if failure == nil || ctx.Err() != nil {
			return
		}
		s.client.connection.recordFailure(failure)
		delay, final := s.retries.delayAfter(failure)
		if final != nil {
			yield(nil, final)
			return
		}
		if s.isLive && s.onInterrupted != nil {
			s.onInterrupted(failure)
		}
		s.isLive = false
		if sleep(ctx, delay) != nil {
			return
		}
	}
}

// converse yields the events of one stream. It returns why the stream ended; nil if the consumer stopped.
func (s *subscription) converse(ctx context.Context, yield func(Event, error) bool) *Error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	channel, err := s.client.connection.channel()
	if err != nil {
		return asError(ctx, err)
	}
	request := &pb.SubscribeRequest{
		Agent: s.request.Agent, AllAgents: s.request.AllAgents, IncludeReceipts: s.request.IncludeReceipts, Observe: s.request.Observe,
		MaxBatch: s.request.MaxBatch, PreviewBytes: s.request.PreviewBytes, AfterId: s.cursor.after, IncludeUnread: s.cursor.unread,
	}
	stream, err := pb.NewMailboxServiceClient(channel).Subscribe(ctx, request, s.client.connection.callOptions()...)
	if err != nil {
		return asError(ctx, err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return asError(ctx, err)
		}
		if !s.isLive {
			s.isLive = true
			s.client.connection.recordAnswer()
		}
		responses := response.GetEvents()
		if len(responses) == 0 {
			responses = []*pb.SubscribeResponse{response}
		}
		for _, one := range responses {
			event, failure := s.receive(one)
			if failure != nil {
				return failure
			}
			if event != nil && !yield(event, nil) {
				return nil
			}
		}
	}
}

// receive moves the cursor; it returns the event if it is new and of a known kind.
func (s *subscription) receive(response *pb.SubscribeResponse) (Event, *Error) {
	eventID := response.GetEventId()
	switch event := response.GetEvent().(type) {
	case *pb.SubscribeResponse_GoingAway:
		s.cursor.recordGoingAway(event.GoingAway.GetLastId())
		return nil, &Error{Code: codes.Unavailable, Reason: ErrStopping, Message: "the daemon is stopping"}
	case *pb.SubscribeResponse_CaughtUp:
		lastID := event.CaughtUp.GetLastId()
		s.cursor.recordCaughtUp(lastID)
		s.retries.recordProgress()
		return CaughtUp{LastID: lastID, Gap: event.CaughtUp.GetGap()}, nil
	}
	if eventID == "" || !s.cursor.admit(eventID) {
		return nil, nil
	}
	s.retries.recordProgress() // a replay that always breaks at the same event is no progress
	switch event := response.GetEvent().(type) {
	case *pb.SubscribeResponse_Message:
		return messageFrom(event.Message), nil
	case *pb.SubscribeResponse_Receipt:
		return receiptFrom(event.Receipt, eventID), nil
	case *pb.SubscribeResponse_CommandResponse:
		return responseFrom(event.CommandResponse, eventID), nil
	default:
		return nil, nil // a kind that only newer daemons send
	}
}
