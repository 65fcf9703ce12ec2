package mailroom

import (
	"context"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

const (
	defaultTimeout = 30 * time.Second
	defaultGrace   = 2 * time.Second
)

// A Client is a client of Mailroom. Goroutines share it. Close it when it is not needed any more.
type Client struct {
	connection connection
	pipeline   *pipeline
	sender     *string
	timeout    time.Duration
	grace      time.Duration
	closing    context.Context // ends when the client is closed
	endClosing context.CancelCauseFunc

	mutex    sync.Mutex     // guards isClosed
	isClosed bool           // no further goroutine starts
	running  sync.WaitGroup // the goroutines of streams
}

// Open returns a client. It connects on first use. The error says that an address is malformed or a file cannot be read.
func Open(options ...Option) (*Client, error) {
	settings := defaults()
	for _, option := range options {
		option.apply(&settings)
	}
	connection, err := newChannels(settings.address, settings.access, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return newClient(connection, settings), nil
}

// New returns a client that makes its calls with a gRPC connection of the program, which has its own credentials and options. Closing
// the client leaves the connection open.
func New(conn grpc.ClientConnInterface, options ...ChannelOption) *Client {
	settings := defaults()
	for _, option := range options {
		option.apply(&settings)
	}
	return newClient(givenChannel{conn}, settings)
}

func defaults() config {
	settings := config{timeout: defaultTimeout, grace: defaultGrace}
	if name := os.Getenv("MAILROOM_AGENT"); name != "" {
		settings.sender = &name
	}
	return settings
}

func newClient(connection connection, settings config) *Client {
	closing, endClosing := context.WithCancelCause(context.Background())
	client := &Client{
		connection: connection, sender: settings.sender, timeout: settings.timeout, grace: settings.grace, closing: closing,
		endClosing: endClosing,
	}
	client.pipeline = &pipeline{client: client}
	return client
}

// Sender returns the name that this client sends under; empty if it has none.
func (c *Client) Sender() string {
	if c.sender == nil {
		return ""
	}
	return *c.sender
}

// Address returns the daemon's address, or where it is expected: unix:PATH or HOST:PORT. It is empty for a client that [New] made.
func (c *Client) Address() string { return c.connection.address() }

// Close ends every call and subscription, and returns when all of the client's goroutines have ended. To repeat it is harmless.
func (c *Client) Close() error {
	c.mutex.Lock()
	c.isClosed = true
	c.mutex.Unlock()
	c.endClosing(ErrClientClosed)
	c.connection.close()
	c.running.Wait()
	return nil
}

// start runs a function in a goroutine that Close waits for; it returns false if the client is closed.
func (c *Client) start(run func()) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.isClosed {
		return false
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		run()
	}()
	return true
}

// bound returns a context that also ends when the client is closed.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	bound, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.closing, func() { cancel(ErrClientClosed) })
	return bound, func() {
		stop()
		cancel(nil)
	}
}

// newRetries returns the retries of something that may take until a deadline; zero: without limit.
func (c *Client) newRetries(deadline time.Time) *retries {
	return &retries{connection: c.connection, grace: c.grace, deadline: deadline}
}

// run makes attempts until one succeeds, fails for good, or the time is over. Every attempt may be repeated: it reads, carries an
// idempotency key, or is idempotent by nature. The daemon may wait on purpose for an extra time, where the context sets no deadline.
func (c *Client) run(ctx context.Context, extra time.Duration, attempt func(context.Context) error) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	deadline, isSet := ctx.Deadline()
	if !isSet {
		deadline = time.Now().Add(c.timeout + extra)
		var end context.CancelFunc
		ctx, end = context.WithDeadline(ctx, deadline)
		defer end()
	}
	retries := c.newRetries(deadline)
	for {
		if ctx.Err() != nil {
			return asError(ctx, ctx.Err())
		}
		err := attempt(ctx)
		if err == nil {
			c.connection.recordAnswer()
			return nil
		}
		failure := asError(ctx, err)
		c.connection.recordFailure(failure)
		delay, final := retries.delayAfter(failure)
		if final != nil {
			return final
		}
		if err := sleep(ctx, delay); err != nil {
			return asError(ctx, err)
		}
	}
}

// call makes a unary call with its retries.
func call[Request, Response any](
	ctx context.Context, c *Client, extra time.Duration, method unaryMethod[Request, Response], request *Request,
) (*Response, error) {
	var response *Response
	err := c.run(ctx, extra, func(ctx context.Context) error {
		var err error
		response, err = callOnce(ctx, c, method, request)
		return err
	})
	return response, err
}

// callOnce makes one attempt.
func callOnce[Request, Response any](
	ctx context.Context, c *Client, method unaryMethod[Request, Response], request *Request,
) (*Response, error) {
	channel, err := c.connection.channel()
	if err != nil {
		return nil, err
	}
	return method(ctx, channel, request, c.connection.callOptions()...)
}

// A unaryMethod is one RPC of the contract.
type unaryMethod[Request, Response any] func(
	context.Context, grpc.ClientConnInterface, *Request, ...grpc.CallOption,
) (*Response, error)

// mailbox makes a unaryMethod of a method of the generated client.
func mailbox[Request, Response any](
	method func(pb.MailboxServiceClient, context.Context, *Request, ...grpc.CallOption) (*Response, error),
) unaryMethod[Request, Response] {
	return func(
		ctx context.Context, channel grpc.ClientConnInterface, request *Request, options ...grpc.CallOption,
	) (*Response, error) {
		return method(pb.NewMailboxServiceClient(channel), ctx, request, options...)
	}
}

// sleep waits; the error says that the context ended first.
func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
