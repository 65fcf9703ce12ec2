package mailroom

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

// knownConnection has answered or not; nothing else of it is used.
type knownConnection struct {
	givenChannel
	answered bool
}

func (k knownConnection) hasAnswered() bool { return k.answered }

func (k knownConnection) notRunning(failure *Error) *Error {
	return &Error{Code: codes.Unavailable, Reason: ErrDaemonNotRunning, cause: failure}
}

func TestDelaysDoubleUpToALimit(t *testing.T) {
	var delays delays
	for _, longest := range []time.Duration{50, 100, 200, 400, 800, 1600, 2000, 2000} {
		if delay := delays.next(); delay > longest*time.Millisecond || delay < longest*time.Millisecond/2 {
			t.Fatalf("%v instead of at most %d ms", delay, longest)
		}
	}
}

func TestOnlyWhatMayHelpIsRepeated(t *testing.T) {
	repeated := map[*Error]bool{
		{Code: codes.Unavailable}:                                                               true,
		{Code: codes.Unavailable, Reason: ErrStopping}:                                          true,
		{Code: codes.Unavailable, Reason: ErrTLSFailed}:                                         false,
		{Code: codes.Canceled}:                                                                  true,
		{Code: codes.Canceled, Reason: ErrClientClosed}:                                         false,
		{Code: codes.Canceled, cause: context.Canceled}:                                         false,
		{Code: codes.DeadlineExceeded, RetryAfter: time.Second}:                                 false,
		{Code: codes.ResourceExhausted}:                                                         false,
		{Code: codes.ResourceExhausted, Reason: ErrMailboxFull, RetryAfter: time.Second}:        true,
		{Code: codes.InvalidArgument, Reason: ErrRecipientInvalid, RetryAfter: time.Nanosecond}: false,
		{Code: codes.Internal, Reason: ErrInternal}:                                             false,
		{Code: codes.Unauthenticated, Reason: ErrTokenExpired}:                                  false,
	}
	for failure, expected := range repeated {
		retries := retries{connection: knownConnection{answered: true}, deadline: time.Now().Add(time.Hour)}
		delay, final := retries.delayAfter(failure)
		if (final == nil) != expected || final == nil && delay < failure.RetryAfter {
			t.Errorf("%v %s: %v %v", failure.Code, failure.Reason, delay, final)
		}
	}
}

func TestRetriesEndAtTheDeadlineAndAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, one := range []struct {
			answered bool
			deadline time.Duration
			reason   Reason
			within   [2]time.Duration
		}{
			{true, 10 * time.Second, "", [2]time.Duration{8 * time.Second, 10 * time.Second}},
			{true, 10 * time.Second, ErrStopping, [2]time.Duration{8 * time.Second, 10 * time.Second}},
			{false, 10 * time.Second, ErrStopping, [2]time.Duration{8 * time.Second, 10 * time.Second}},
			{false, 10 * time.Second, "", [2]time.Duration{750 * time.Millisecond, 2 * time.Second}}, // then the delay may be too long
			{false, time.Second, "", [2]time.Duration{0, time.Second}},
		} {
			start := time.Now()
			retries := retries{connection: knownConnection{answered: one.answered}, grace: 2 * time.Second, deadline: start.Add(one.deadline)}
			for {
				delay, final := retries.delayAfter(&Error{Code: codes.Unavailable, Reason: one.reason})
				if final != nil {
					if took := time.Since(start); took < one.within[0] || took > one.within[1] {
						t.Errorf("%+v: %v", one, took)
					}
					if errors.Is(final, ErrDaemonNotRunning) != (one.reason == "") {
						t.Errorf("%+v: %v", one, final)
					}
					break
				}
				time.Sleep(delay)
			}
		}
	})
}

func TestFailuresAreOfThisContextOrOfTheDaemon(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, one := range []struct {
		ctx    context.Context
		err    error
		code   codes.Code
		reason Reason
		cause  error
	}{
		{ended, status.Error(codes.Canceled, ""), codes.Canceled, "", context.Canceled},
		{ended, context.Canceled, codes.Canceled, "", context.Canceled},
		{ended, invalid(ErrTTLInvalid, "ttl", ""), codes.InvalidArgument, ErrTTLInvalid, nil},
		{ended, status.Error(codes.NotFound, ""), codes.NotFound, "", nil},
		{t.Context(), status.Error(codes.Canceled, ""), codes.Unavailable, "", nil},
		{t.Context(), status.Error(codes.DeadlineExceeded, ""), codes.DeadlineExceeded, "", context.DeadlineExceeded},
		{t.Context(), status.Error(codes.Internal, "stream terminated by RST_STREAM"), codes.Unavailable, "", nil},
		{t.Context(), status.Error(codes.Internal, "grpc: failed to unmarshal the received message"), codes.Internal, "", nil},
		{t.Context(), status.Error(codes.ResourceExhausted, "stream terminated with error code: ENHANCE_YOUR_CALM"), codes.Unavailable, "", nil},
		{t.Context(), status.Error(codes.ResourceExhausted, "received message larger than max"), codes.ResourceExhausted, "", nil},
	} {
		failure := asError(one.ctx, one.err)
		if failure.Code != one.code || failure.Reason != one.reason || one.cause != nil && !errors.Is(failure, one.cause) || failure.Code == codes.OK {
			t.Errorf("%v became %+v", one.err, failure)
		}
	}
}

func TestEachReasonOfTheContractHasAName(t *testing.T) {
	for _, known := range []Reason{ErrMailboxFull, ErrThreadIDTooLong, ErrTTLInvalid, ErrStorageFailed} {
		if number, isReason := pb.ErrorReason_value["ERROR_REASON_"+string(known)]; !isReason || number == 0 {
			t.Errorf("%s is no reason of the contract", known)
		}
		if failure := error(&Error{Reason: known}); !errors.Is(fmt.Errorf("wrapped: %w", failure), known) || errors.Is(failure, ErrInternal) {
			t.Error(known)
		}
	}
}

func TestATokenIsNeverPrinted(t *testing.T) {
	credentials := clientCredentials{token: "secret"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, credentials.token); text != "bearer token" {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestADeliveryTellsWhyAMessageWasReturned(t *testing.T) {
	reason := "MAILBOX_FULL: bob has no room"
	delivery := deliveryFrom(&pb.Delivery{State: pb.DeliveryState_DELIVERY_STATE_RETURNED, Reason: reason})
	if delivery.State != StateReturned || delivery.Reason != reason {
		t.Fatalf("got %v %q", delivery.State, delivery.Reason)
	}
}

func TestAReceiptTellsWhyAMessageWasReturned(t *testing.T) {
	reason := "MAILBOX_FULL: bob has no room"
	receipt := receiptFrom(&pb.Receipt{State: pb.DeliveryState_DELIVERY_STATE_RETURNED, Reason: reason}, "")
	if receipt.State != StateReturned || receipt.Reason != reason {
		t.Fatalf("got %v %q", receipt.State, receipt.Reason)
	}
}
