package mailroom

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

const (
	maxSharedMessages  = 128              // in a batch: half of what the daemon stores at a time for one agent, so that two overlap
	maxBatchesInFlight = 2                // one is being stored while the next one arrives; more would only split what gathers
	aloneTime          = time.Second      // for which all sends travel alone after the daemon has refused a stream
	sharedPart         = 0.75             // of a caller's time; in the rest a call of its own learns the daemon's reason for the delay
	maxSharedTime      = 10 * time.Second // without an answer; then the stream counts as broken, although gRPC has not noticed it
)

// pipeline lets the concurrent sends of one client share a SendMessages stream.
//
// What has gathered while earlier requests are unanswered travels as one batch. A message travels alone, in a unary call, when no
// other goroutine sends, or when the stream has failed for a reason that may not concern it: so each caller gets the error
// of its own message. It makes single attempts; whether to try again is for Client.run.
// Invariant: every attempt is resolved exactly once. Whatever travels again carries its idempotency key, so nothing is doubled.
type pipeline struct {
	client *Client

	mutex      sync.Mutex // guards the rest
	sending    int
	gathered   []*attempt
	inFlight   [][]*attempt // oldest first
	stream     *exchange    // the one in use
	aloneUntil time.Time
}

// An attempt is one caller's attempt to send a message on the stream.
type attempt struct {
	request     *pb.SendMessageRequest
	outcome     chan outcome // has room for the one outcome
	isWithdrawn bool         // its caller has gone; guarded by the pipeline's mutex
}

// An outcome has neither a message nor a failure if the message is to travel alone.
type outcome struct {
	sent    *Sent
	failure *Error
}

// send makes one attempt within a deadline, which the context must have.
func (p *pipeline) send(ctx context.Context, request *pb.SendMessageRequest) (*Sent, error) {
	var shared *attempt
	p.mutex.Lock()
	p.sending++
	if p.sending > 1 && p.accepts(ctx, request) {
		shared = &attempt{request: request, outcome: make(chan outcome, 1)}
		p.gathered = append(p.gathered, shared)
		p.sendGathered()
	}
	p.mutex.Unlock()
	defer func() {
		p.mutex.Lock()
		p.sending--
		p.mutex.Unlock()
	}()
	if shared != nil {
		result, err := p.await(ctx, shared)
		switch {
		case err != nil:
			return nil, err
		case result.failure != nil:
			return nil, result.failure
		case result.sent != nil:
			return result.sent, nil
		}
	}
	response, err := callOnce(ctx, p.client, sendMessage, request)
	if err != nil {
		return nil, err
	}
	return sentFrom(response), nil
}

// accepts says whether a message may share the stream.
//
// Mail for agent@team may not: its answer waits for the native team inbox, and a batch is answered as a whole. Neither may a call
// whose context has headers of the program: they belong to this call alone.
func (p *pipeline) accepts(ctx context.Context, request *pb.SendMessageRequest) bool {
	_, hasHeaders := metadata.FromOutgoingContext(ctx)
	return !hasHeaders && !strings.Contains(request.GetRecipient(), "@") && !time.Now().Before(p.aloneUntil)
}

func (p *pipeline) await(ctx context.Context, shared *attempt) (outcome, error) {
	deadline, _ := ctx.Deadline()
	sharedTime := min(time.Duration(sharedPart*float64(time.Until(deadline))), maxSharedTime)
	timer := time.NewTimer(sharedTime)
	defer timer.Stop()
	select {
	case result := <-shared.outcome:
		return result, nil
	case <-ctx.Done():
		p.withdraw(shared)
		return outcome{}, ctx.Err()
	case <-timer.C:
	}
	stream := p.withdraw(shared)
	if sharedTime == maxSharedTime {
		p.endStream(stream, streamEnded())
	}
	return outcome{}, nil
}

// withdraw forgets an attempt whose caller has gone, unless it is in flight: then its outcome is dropped later. It returns the stream
// in use.
func (p *pipeline) withdraw(shared *attempt) *exchange {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	shared.isWithdrawn = true
	return p.stream
}

// sendGathered sends what has gathered, as far as there is room. The mutex is held.
func (p *pipeline) sendGathered() {
	for len(p.inFlight) < maxBatchesInFlight {
		batch := p.takeBatch()
		if len(batch) == 0 {
			return
		}
		p.inFlight = append(p.inFlight, batch)
		if p.stream == nil && !p.openStream() {
			resolveAll(p.popAll(), nil) // each caller's own call says why
			return
		}
		request := &pb.SendMessagesRequest{Messages: make([]*pb.SendMessageRequest, len(batch))}
		for i, one := range batch {
			request.Messages[i] = one.request
		}
		p.stream.send(request)
	}
}

// takeBatch removes one batch from what has gathered. The mutex is held.
func (p *pipeline) takeBatch() []*attempt {
	var batch []*attempt
	size := 0
	for len(p.gathered) > 0 && len(batch) < maxSharedMessages && size < batchBytes {
		next := p.gathered[0]
		p.gathered[0] = nil
		p.gathered = p.gathered[1:]
		if !next.isWithdrawn {
			batch = append(batch, next)
			size += proto.Size(next.request)
		}
	}
	return batch
}

// openStream opens a stream and starts to read it. The mutex is held.
func (p *pipeline) openStream() bool {
	stream, err := p.client.openExchange(context.Background(), maxBatchesInFlight, p.mayEnd)
	if err != nil {
		return false
	}
	if !p.client.start(func() { p.read(stream) }) {
		stream.cancel()
		return false
	}
	p.stream = stream
	return true
}

func (p *pipeline) read(stream *exchange) {
	defer stream.cancel()
	for {
		response, failure := stream.receive()
		if failure != nil {
			p.endStream(stream, failure)
			return
		}
		p.mutex.Lock()
		if p.stream != stream || len(p.inFlight) == 0 {
			p.mutex.Unlock()
			p.endStream(stream, nil)
			return
		}
		answered := p.inFlight[0]
		p.inFlight = p.inFlight[1:]
		p.sendGathered()
		p.mutex.Unlock()
		deliver(answered, response)
	}
}

// mayEnd says whether a stream without new requests may end, and if so, gives it up.
func (p *pipeline) mayEnd(stream *exchange) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.stream != stream {
		return true
	}
	if len(p.gathered) == 0 && len(p.inFlight) == 0 {
		p.stream = nil
	}
	return p.stream == nil
}

// endStream cancels a stream, and gives it up if it is still in use. A transient failure goes to every caller, who decides on a
// repetition; after any other one each message travels alone, and after a refusal nothing shares a stream for a while.
func (p *pipeline) endStream(stream *exchange, failure *Error) {
	if stream == nil {
		return
	}
	p.mutex.Lock()
	var attempts []*attempt
	isTransient := failure != nil && failure.isTransient()
	if p.stream == stream {
		p.stream = nil
		attempts = p.popAll()
		if failure != nil && !isTransient {
			p.aloneUntil = time.Now().Add(aloneTime)
		}
	}
	p.mutex.Unlock()
	stream.cancel()
	if !isTransient {
		failure = nil
	}
	resolveAll(attempts, failure)
}

// popAll removes everything, because the stream has ended. The mutex is held.
func (p *pipeline) popAll() []*attempt {
	var attempts []*attempt
	for _, batch := range p.inFlight {
		attempts = append(attempts, batch...)
	}
	attempts = append(attempts, p.gathered...)
	p.inFlight, p.gathered = nil, nil
	return attempts
}

func resolveAll(attempts []*attempt, failure *Error) {
	for _, one := range attempts {
		one.outcome <- outcome{failure: failure}
	}
}

// deliver gives each caller its result. Content and metadata, which the results of batches lack, come from the requests.
func deliver(answered []*attempt, response *pb.SendMessagesResponse) {
	for i, one := range answered {
		result := resultAt(response.GetResults(), i)
		if result == nil { // not a response to this batch
			one.outcome <- outcome{failure: &Error{Code: codes.Internal, Message: "the daemon's response lacks a result"}}
			continue
		}
		if message := result.GetOk().GetMessage(); message != nil {
			message.Content, message.Metadata = one.request.GetContent(), one.request.GetMetadata()
		}
		delivered := outcomeFrom(one.request.GetRecipient(), result)
		failure, _ := delivered.Err.(*Error)
		one.outcome <- outcome{sent: delivered.Sent, failure: failure}
	}
}
