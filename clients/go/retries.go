package mailroom

import (
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	firstDelay   = 50 * time.Millisecond // a gateway is back in about 0.2 s
	longestDelay = 2 * time.Second       // the longest wait for a daemon that is back already
)

// delays are waits that double, each shortened at random by up to half so that clients do not all return at once.
type delays struct {
	present time.Duration
}

func (d *delays) next() time.Duration {
	delay := max(d.present, firstDelay)
	d.present = min(delay*2, longestDelay)
	return delay - time.Duration(rand.Int64N(int64(delay)/2+1))
}

// retries decides whether to repeat a failed attempt, and when. It lives as long as one call or one stream that is resumed.
//
// UNAVAILABLE is repeated; so is CANCELLED if this client did not cancel, and RESOURCE_EXHAUSTED if the daemon gives a delay. Nothing
// else is. As long as no daemon has ever answered this client, it gives up after a grace period: the daemon may be
// restarting, or not be installed at all.
type retries struct {
	connection       connection
	grace            time.Duration
	deadline         time.Time // zero: none
	unreachableSince time.Time // zero: not now
	delays           delays
}

// recordProgress starts delays and grace period over, after a success.
func (r *retries) recordProgress() {
	r.unreachableSince = time.Time{}
	r.delays = delays{}
}

// delayAfter returns how long to wait before the next attempt, or the error to return because there is to be none.
func (r *retries) delayAfter(failure *Error) (time.Duration, *Error) {
	if !failure.isTransient() && (failure.Code != codes.ResourceExhausted || failure.RetryAfter <= 0) {
		return 0, failure
	}
	delay := max(r.delays.next(), failure.RetryAfter)
	giveUp := r.giveUpAt(failure)
	if giveUp.IsZero() || time.Now().Add(delay).Before(giveUp) {
		return delay, nil
	}
	if failure.isUnreachable() {
		return 0, r.connection.notRunning(failure)
	}
	return 0, failure
}

func (r *retries) giveUpAt(failure *Error) time.Time {
	if !failure.isUnreachable() || r.connection.hasAnswered() {
		return r.deadline
	}
	if r.unreachableSince.IsZero() {
		r.unreachableSince = time.Now()
	}
	end := r.unreachableSince.Add(r.grace)
	if !r.deadline.IsZero() && r.deadline.Before(end) {
		return r.deadline
	}
	return end
}
