package mailroom

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

const maxBulkInFlight = 4 // batches; enough that the daemon never waits for the client

// Bulk sends any number of drafts on one stream, in bounded memory, and yields their outcomes in order, failures included. The messages
// of the outcomes have no content and no metadata. A broken stream is resumed without doubles.
//
// It runs at most about 1,000 drafts ahead; a loop that is left stops the sending. Drafts travel in batches of 250: for a slow
// source, Send has the lower latency.
//
// An error beside the outcome ends the sequence: the context has ended, or there was no progress within the timeout. To send the
// remaining drafts again is safe if they have keys of their own.
func (c *Client) Bulk(ctx context.Context, drafts iter.Seq[Draft]) iter.Seq2[Outcome, error] {
	return func(yield func(Outcome, error) bool) {
		ctx, cancel := c.bound(ctx)
		defer cancel()
		next, stop := iter.Pull(batches(drafts, c.sender))
		defer stop()
		bulk := &bulk{client: c, ctx: ctx}
		defer bulk.dropStream()
		for bulk.fill(next) {
			response, err := bulk.receive()
			if err != nil {
				yield(Outcome{}, err)
				return
			}
			for outcome, err := range bulk.resolveOldest(response) {
				if !yield(outcome, err) || err != nil {
					return
				}
			}
		}
	}
}

// A bulk is one bulk send. Invariant: a batch that is sent again carries the same keys.
type bulk struct {
	client *Client
	ctx    context.Context
	window []*batch  // unanswered, oldest first
	stream *exchange // nil if there is none
}

// A batch holds drafts that are sent in one request.
type batch struct {
	entries []entry
	size    int
}

// An entry is one draft: its request, or the reason why no request could be built.
type entry struct {
	recipient string
	request   *pb.SendMessageRequest
	refusal   error
}

func (b *batch) request() *pb.SendMessagesRequest {
	request := &pb.SendMessagesRequest{}
	for _, entry := range b.entries {
		if entry.request != nil {
			request.Messages = append(request.Messages, entry.request)
		}
	}
	return request
}

// batches groups drafts. An invalid draft becomes an outcome, not an error.
func batches(drafts iter.Seq[Draft], sender *string) iter.Seq[*batch] {
	return func(yield func(*batch) bool) {
		current := &batch{}
		for draft := range drafts {
			request, err := draftRequest(draft, sender)
			current.size += proto.Size(request)
			current.entries = append(current.entries, entry{draft.To, request, err})
			if len(current.entries) >= batchMessages || current.size >= batchBytes {
				if !yield(current) {
					return
				}
				current = &batch{}
			}
		}
		if len(current.entries) > 0 {
			yield(current)
		}
	}
}

// fill sends batches until enough are in flight; it returns whether any are.
func (b *bulk) fill(next func() (*batch, bool)) bool {
	for len(b.window) < maxBulkInFlight {
		batch, isGiven := next()
		if !isGiven {
			break
		}
		b.window = append(b.window, batch)
		if b.stream != nil {
			b.stream.send(batch.request())
		}
	}
	return len(b.window) > 0
}

// receive returns the response to the oldest batch, over as many streams as it takes.
func (b *bulk) receive() (*pb.SendMessagesResponse, error) {
	deadline := time.Now().Add(b.client.timeout)
	if given, isSet := b.ctx.Deadline(); isSet {
		deadline = given
	}
	retries := b.client.newRetries(deadline)
	for {
		response, failure := b.receiveOnce(deadline)
		if failure == nil {
			return response, nil
		}
		b.dropStream()
		b.client.connection.recordFailure(failure)
		delay, final := retries.delayAfter(failure)
		if final != nil {
			return nil, final
		}
		if err := sleep(b.ctx, delay); err != nil {
			return nil, asError(b.ctx, err)
		}
	}
}

func (b *bulk) receiveOnce(deadline time.Time) (*pb.SendMessagesResponse, *Error) {
	if b.stream == nil {
		stream, err := b.client.openExchange(b.ctx, maxBulkInFlight, nil)
		if err != nil {
			return nil, asError(b.ctx, err)
		}
		b.stream = stream
		for _, batch := range b.window {
			stream.send(batch.request())
		}
	}
	stall := time.AfterFunc(time.Until(deadline), b.stream.cancel)
	defer stall.Stop()
	response, failure := b.stream.receive()
	if failure != nil && b.ctx.Err() == nil && !time.Now().Before(deadline) {
		message := "the daemon has answered nothing within the timeout; drafts may have been stored"
		return nil, &Error{Code: codes.DeadlineExceeded, Message: message, cause: context.DeadlineExceeded}
	}
	if b.ctx.Err() != nil {
		return nil, asError(b.ctx, b.ctx.Err())
	}
	return response, failure
}

// resolveOldest yields the outcomes of the oldest batch. What the daemon could not store in time is sent again alone.
func (b *bulk) resolveOldest(response *pb.SendMessagesResponse) iter.Seq2[Outcome, error] {
	oldest := b.window[0]
	b.window = b.window[1:]
	return func(yield func(Outcome, error) bool) {
		index := 0
		for _, entry := range oldest.entries {
			outcome := Outcome{Recipient: entry.recipient, Err: entry.refusal}
			if entry.request != nil {
				outcome = outcomeFrom(entry.recipient, resultAt(response.GetResults(), index))
				index++
			}
			var err error
			if entry.request != nil && isUnavailable(outcome.Err) {
				outcome, err = b.resend(entry)
			}
			if failure := new(Error); errors.As(outcome.Err, &failure) && entry.request != nil {
				outcome.Err = failure.withKey(entry.request.GetIdempotencyKey())
			}
			if !yield(outcome, err) {
				return
			}
		}
	}
}

func (b *bulk) resend(entry entry) (Outcome, error) {
	sent, err := b.client.send(b.ctx, entry.request)
	if err == nil {
		sent.Message.Content, sent.Message.Metadata = "", Metadata{}
		return Outcome{Recipient: entry.recipient, Sent: sent}, nil
	}
	if failure := new(Error); errors.As(err, &failure) && failure.Retryable() && failure.Code != codes.ResourceExhausted {
		return Outcome{}, err
	}
	return Outcome{Recipient: entry.recipient, Err: err}, nil
}

func isUnavailable(err error) bool {
	failure := new(Error)
	return errors.As(err, &failure) && failure.Code == codes.Unavailable
}

func (b *bulk) dropStream() {
	if b.stream != nil {
		b.stream.cancel()
		b.stream = nil
	}
}
