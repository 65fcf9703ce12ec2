package mailroom

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Reason says why a call failed, for programs. It is stable. The daemon's reasons are in reasons.go and in docs/errors.md; a newer
// daemon may give others: treat an unknown one by the code of the error.
//
// A Reason is an error, so that errors.Is(err, mailroom.ErrMailboxFull) works.
type Reason string

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// The reasons that this client gives by itself.
const (
	// UNAVAILABLE. No daemon answers. The message names every place where the client looked.
	ErrDaemonNotRunning Reason = "DAEMON_NOT_RUNNING"
	// CANCELLED. The program has closed the client.
	ErrClientClosed Reason = "CLIENT_CLOSED"
	// UNAVAILABLE. The TLS handshake failed. A retry does not help.
	ErrTLSFailed Reason = "TLS_FAILED"
	// UNAVAILABLE. The daemon ended a stream, which is resumed.
	ErrStreamEnded Reason = "STREAM_ENDED"
	// INVALID_ARGUMENT. An address is not unix:PATH or HOST:PORT, or a path is not valid.
	ErrAddressInvalid Reason = "ADDRESS_INVALID"
	// INVALID_ARGUMENT. A file with a token, a certificate or a key cannot be read.
	ErrFileUnreadable Reason = "FILE_UNREADABLE"
	// INVALID_ARGUMENT. The files for TLS do not fit together, or are not PEM.
	ErrTLSInvalid Reason = "TLS_INVALID"
	// INVALID_ARGUMENT. The token would cross the network unencrypted.
	ErrTLSMissing Reason = "TLS_MISSING"
	// INVALID_ARGUMENT. The request is larger than the daemon accepts.
	ErrRequestTooLarge Reason = "REQUEST_TOO_LARGE"
)

// An Error is a failed call.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is for programs; empty if neither the daemon nor this client gave one.
	Reason Reason
	// Message says what is wrong and what to do.
	Message string
	// Field is the invalid field of the request, as the contract names it; empty if there is none.
	Field string
	// RetryAfter is the delay that the daemon asked for; 0 if it named none.
	RetryAfter time.Duration
	// Key is the idempotency key of the send that failed: to send with this key again cannot double the message.
	Key string

	cause error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the reason, and the cause if there is one, such as context.Canceled.
func (e *Error) Unwrap() []error {
	var wrapped []error
	if e.Reason != "" {
		wrapped = append(wrapped, e.Reason)
	}
	if e.cause != nil {
		wrapped = append(wrapped, e.cause)
	}
	return wrapped
}

// GRPCStatus returns code and message, for status.Code and status.FromError.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// Retryable says whether the same call, with the same key, may succeed later. The client itself has tried until the deadline.
func (e *Error) Retryable() bool {
	switch e.Code {
	case codes.ResourceExhausted:
		return e.RetryAfter > 0
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return e.Reason != ErrClientClosed && e.Reason != ErrTLSFailed
	default:
		return false
	}
}

// isTransient says whether this client repeats the call by itself, without a delay from the daemon.
func (e *Error) isTransient() bool {
	return (e.Code == codes.Unavailable || e.Code == codes.Canceled) && e.Retryable() && (e.cause == nil || !isOfContext(e.cause))
}

// isUnreachable says whether the local connection failed: the daemon itself always gives a reason.
func (e *Error) isUnreachable() bool { return e.Code == codes.Unavailable && e.Reason == "" }

// withKey returns a copy with the key of the send that failed.
func (e *Error) withKey(key string) *Error {
	keyed := *e
	keyed.Key = key
	return &keyed
}

// invalid returns the error for a request that is not sent, because a field of it is invalid.
func invalid(reason Reason, field, format string, args ...any) *Error {
	return &Error{Code: codes.InvalidArgument, Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)}
}

func clientClosed() *Error {
	return &Error{Code: codes.Canceled, Reason: ErrClientClosed, Message: "this client is closed: open a new one"}
}

func streamEnded() *Error {
	return &Error{Code: codes.Unavailable, Reason: ErrStreamEnded, Message: "the daemon ended the stream"}
}

// contextError returns the error for a call whose context has ended.
func contextError(ctx context.Context) *Error {
	cause, code := ctx.Err(), codes.Canceled
	message := "the call was canceled; a send may have been stored"
	if errors.Is(cause, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
		message = "no answer came before the deadline; a send may have been stored: repeat it with the same key"
	}
	if own := context.Cause(ctx); own != cause {
		cause = fmt.Errorf("%w: %w", cause, own)
	}
	return &Error{Code: code, Message: message, cause: cause}
}
