package mailroom

import (
	"context"
	"time"

	"google.golang.org/grpc"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

const (
	batchMessages = 250                    // about one group commit; larger batches gain little and add latency
	batchBytes    = 4 << 20                // the daemon accepts 16 MiB for each request, and one message has 5 MiB at most
	streamIdle    = 200 * time.Millisecond // without a request: longer than the pauses within one burst
	lingering     = 10 * time.Second       // for a daemon that does not end a stream which this client has ended
)

// An exchange is one SendMessages stream. A goroutine of its own opens it and sends the requests; responses are received one by one.
type exchange struct {
	client   *Client
	ctx      context.Context
	cancel   context.CancelFunc
	requests chan *pb.SendMessagesRequest
	opened   chan struct{} // closed when stream and openErr are set
	stream   grpc.BidiStreamingClient[pb.SendMessagesRequest, pb.SendMessagesResponse]
	openErr  error
}

// openExchange opens a stream; a failure is returned when it is read. At most inFlight requests may be unanswered at a time. If
// mayEnd is given, it is asked each time that no request has come for a while whether the stream may end.
func (c *Client) openExchange(ctx context.Context, inFlight int, mayEnd func(*exchange) bool) (*exchange, error) {
	bound, cancel := c.bound(ctx)
	x := &exchange{
		client: c, ctx: bound, cancel: cancel, requests: make(chan *pb.SendMessagesRequest, inFlight), opened: make(chan struct{}),
	}
	if !c.start(func() { x.write(mayEnd) }) {
		cancel()
		return nil, clientClosed()
	}
	return x, nil
}

// send queues a request. It never waits, because no more requests are queued than may be unanswered.
func (x *exchange) send(request *pb.SendMessagesRequest) { x.requests <- request }

// receive returns the next response.
func (x *exchange) receive() (*pb.SendMessagesResponse, *Error) {
	<-x.opened
	if x.openErr != nil {
		return nil, asError(x.ctx, x.openErr)
	}
	response, err := x.stream.Recv()
	if err != nil {
		return nil, asError(x.ctx, err)
	}
	x.client.connection.recordAnswer()
	return response, nil
}

func (x *exchange) write(mayEnd func(*exchange) bool) {
	x.stream, x.openErr = x.open()
	close(x.opened)
	if x.openErr != nil {
		return
	}
	idle := time.NewTicker(streamIdle)
	defer idle.Stop()
	for {
		select {
		case request := <-x.requests:
			if x.stream.Send(request) != nil { // receive returns the reason
				return
			}
			idle.Reset(streamIdle)
		case <-idle.C:
			if mayEnd != nil && mayEnd(x) {
				_ = x.stream.CloseSend()
				time.AfterFunc(lingering, x.cancel)
				return
			}
		case <-x.ctx.Done():
			return
		}
	}
}

func (x *exchange) open() (grpc.BidiStreamingClient[pb.SendMessagesRequest, pb.SendMessagesResponse], error) {
	channel, err := x.client.connection.channel()
	if err != nil {
		return nil, err
	}
	return pb.NewMailboxServiceClient(channel).SendMessages(x.ctx, x.client.connection.callOptions()...)
}
