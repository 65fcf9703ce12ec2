package mailroom

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How crypto/tls words a failed handshake; observed with Go 1.26.
var handshakeErrors = []struct {
	pattern  *regexp.Regexp
	sentence string
}{
	{
		regexp.MustCompile(`certificate is (?:not )?valid for|contain any IP SANs|not valid for any names`),
		"The daemon's certificate does not cover this address. Use a host name or an IP address that the certificate lists.",
	},
	{
		regexp.MustCompile(`x509: |failed to verify certificate`),
		"The daemon's certificate has expired or was not issued by a trusted authority. Check MAILROOM_TLS_CA.",
	},
	{
		regexp.MustCompile(`first record does not look like a TLS handshake`),
		"The daemon does not use TLS at this address. Unset MAILROOM_TLS_CA, or start the daemon with --tls-cert.",
	},
	{
		regexp.MustCompile(`remote error: tls: (?:certificate required|bad certificate|unknown certificate(?: authority)?|handshake failure)`),
		"The daemon requires a client certificate from an authority that it trusts: set MAILROOM_TLS_CLIENT_CERT and " +
			"MAILROOM_TLS_CLIENT_KEY.",
	},
}

// How grpc-go words an INTERNAL of its own that does not come from a broken connection.
var ownFault = regexp.MustCompile(`marshal|decompress|compress`)

// How grpc-go words a RESOURCE_EXHAUSTED that comes from the connection.
var tooManyFrames = regexp.MustCompile(`ENHANCE_YOUR_CALM|too_many_pings`)

// The cause in `connection error: desc = "transport: Error while dialing: dial unix /x: connect: connection refused"`.
var connectionError = regexp.MustCompile(`(?s)connection error: desc = "(.*)"`)

// asError returns the typed error of an attempt.
func asError(ctx context.Context, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(err, io.EOF) {
		return streamEnded()
	}
	if ctx.Err() != nil && isOfContext(err) {
		if errors.Is(context.Cause(ctx), ErrClientClosed) {
			return clientClosed()
		}
		return contextError(ctx)
	}
	return fromStatus(status.Convert(err))
}

func isOfContext(err error) bool {
	code := status.Code(err)
	return code == codes.Canceled || code == codes.DeadlineExceeded ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// fromStatus converts a gRPC status and its google.rpc details. Without ErrorInfo it is not the daemon's, but comes from gRPC: then
// INTERNAL, CANCELLED or a stream that was reset say that the connection broke, which is UNAVAILABLE.
func fromStatus(failed *status.Status) *Error {
	failure := &Error{Code: failed.Code(), Message: failed.Message()}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason = Reason(detail.GetReason())
		case *errdetails.BadRequest:
			if violations := detail.GetFieldViolations(); len(violations) > 0 {
				failure.Field = violations[0].GetField()
			}
		case *errdetails.RetryInfo:
			failure.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	if failure.Reason != "" {
		return failure
	}
	return fromGRPC(failure)
}

func fromGRPC(failure *Error) *Error {
	if failure.Code == codes.Unavailable {
		for _, handshake := range handshakeErrors {
			if handshake.pattern.MatchString(failure.Message) {
				return &Error{Code: codes.Unavailable, Reason: ErrTLSFailed, Message: handshake.sentence}
			}
		}
	}
	if isBroken(failure) {
		failure.Code, failure.Message = codes.Unavailable, shortened(failure.Message)
	}
	if failure.Code == codes.Unimplemented {
		failure.Message = "the daemon does not support this call: it is older than this client. Restart it after an upgrade."
	}
	if failure.Code == codes.DeadlineExceeded { // before the context noticed it
		failure.cause = context.DeadlineExceeded
	}
	if failure.Message == "" {
		failure.Message = "the daemon returned " + failure.Code.String()
	}
	return failure
}

func isBroken(failure *Error) bool {
	switch failure.Code {
	case codes.Unavailable, codes.Canceled:
		return true
	case codes.Internal:
		return !ownFault.MatchString(failure.Message)
	case codes.ResourceExhausted:
		return tooManyFrames.MatchString(failure.Message)
	default:
		return false
	}
}

// shortened returns the cause of a failed connection alone.
func shortened(message string) string {
	if match := connectionError.FindStringSubmatch(message); match != nil {
		message = match[1]
	}
	message = strings.TrimPrefix(message, "transport: ")
	message = strings.TrimPrefix(message, "Error while dialing: ")
	if message == "" {
		return "the connection broke"
	}
	return message
}
