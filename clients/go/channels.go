package mailroom

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
)

// maxResponseBytes is the largest response that is accepted: a page of 3 MiB, and one message more.
const maxResponseBytes = 8 << 20

// A connection is what a client makes its calls with.
type connection interface {
	// channel returns the channel for the next attempt.
	channel() (grpc.ClientConnInterface, error)
	// callOptions returns the options of each call.
	callOptions() []grpc.CallOption
	// recordAnswer notes that the daemon has answered.
	recordAnswer()
	// recordFailure looks for the daemon again if it could not be reached.
	recordFailure(failure *Error)
	// hasAnswered says whether the daemon has ever answered.
	hasAnswered() bool
	// notRunning returns the error for a call that is given up because the daemon could not be reached.
	notRunning(failure *Error) *Error
	// address returns where the daemon is, or is expected.
	address() string
	close()
}

// channels are the gRPC channels of one client, by address, and what is known about the daemon. After each failure to connect, the
// daemon is located again, because it may have moved to another address. A closed client opens no further channel.
type channels struct {
	explicit    string
	credentials clientCredentials
	env         environment
	locating    sync.Mutex // held by the one goroutine that searches

	mutex    sync.Mutex // guards the rest
	current  address
	opened   map[string]*grpc.ClientConn
	answered bool
	closed   bool
}

func newChannels(explicit string, given access, env environment) (*channels, error) {
	credentials, err := findCredentials(given, env)
	if err != nil {
		return nil, err
	}
	current, err := findDaemon(explicit, env)
	if err != nil {
		return nil, err
	}
	if _, err := credentials.dialOptions(current); err != nil {
		return nil, err
	}
	return &channels{
		explicit: explicit, credentials: credentials, env: env, current: current, opened: map[string]*grpc.ClientConn{},
	}, nil
}

func (c *channels) channel() (grpc.ClientConnInterface, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return nil, clientClosed()
	}
	if channel, isOpen := c.opened[c.current.target()]; isOpen {
		return channel, nil
	}
	channel, err := c.open(c.current)
	if err != nil {
		return nil, err
	}
	c.opened[c.current.target()] = channel
	return channel, nil
}

func (c *channels) open(to address) (*grpc.ClientConn, error) {
	options, err := c.credentials.dialOptions(to)
	if err != nil {
		return nil, err
	}
	options = append(options,
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // retries are this client's own
		grpc.WithConnectParams(grpc.ConnectParams{ // the daemon is near; gRPC's default of 1 s suits the internet
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponseBytes)),
	)
	if to.socketPath() == "" { // a stream that a router has forgotten is noticed
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}))
	}
	return grpc.NewClient(to.target(), options...)
}

// callOptions returns none: an attempt fails at once while the daemon is away, and the daemon is located again before the next.
func (c *channels) callOptions() []grpc.CallOption { return nil }

func (c *channels) recordAnswer() {
	c.mutex.Lock()
	c.answered = true
	c.mutex.Unlock()
}

func (c *channels) recordFailure(failure *Error) {
	if failure.Reason != "" && failure.Reason != ErrStreamEnded {
		if failure.Reason != ErrTLSFailed && failure.Reason != ErrClientClosed {
			c.recordAnswer()
		}
		return
	}
	if !failure.isUnreachable() || !c.locating.TryLock() {
		return
	}
	defer c.locating.Unlock()
	found, err := findDaemon(c.explicit, c.env)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err == nil {
		c.current = found
	}
	if channel, isOpen := c.opened[c.current.target()]; isOpen && !c.closed {
		channel.ResetConnectBackoff() // retries wait already
	}
}

func (c *channels) hasAnswered() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.answered
}

func (c *channels) notRunning(failure *Error) *Error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var tried, hint string
	if len(c.current.tried) > 0 {
		tried = fmt.Sprintf(" Tried: %s.", strings.Join(c.current.tried, "; "))
	}
	if c.current.socketPath() == "" {
		hint = " Over TCP it may require TLS (MAILROOM_TLS_CA), or a client certificate."
	}
	return &Error{
		Code:   codes.Unavailable,
		Reason: ErrDaemonNotRunning,
		Message: fmt.Sprintf("the Mailroom daemon is not running: no answer at %s (%s).%s Start it with `mailroomd`, or with "+
			"`systemctl --user start mailroomd` if it is installed as a service.%s", c.current.text, failure.Message, tried, hint),
		cause: failure,
	}
}

func (c *channels) address() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.current.text
}

func (c *channels) close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.closed = true
	for _, channel := range c.opened {
		_ = channel.Close()
	}
}

// givenChannel is a channel that the program made and owns. Nothing is known about its address, so its calls wait until it is ready.
type givenChannel struct {
	grpc.ClientConnInterface
}

func (g givenChannel) channel() (grpc.ClientConnInterface, error) { return g.ClientConnInterface, nil }

func (g givenChannel) callOptions() []grpc.CallOption {
	return []grpc.CallOption{grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxResponseBytes)}
}

func (g givenChannel) recordAnswer() {}

func (g givenChannel) recordFailure(*Error) {}

func (g givenChannel) hasAnswered() bool { return true }

func (g givenChannel) notRunning(failure *Error) *Error { return failure }

func (g givenChannel) address() string { return "" }

func (g givenChannel) close() {}
