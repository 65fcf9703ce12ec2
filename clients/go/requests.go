package mailroom

import (
	"crypto/rand"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

const (
	maxContentBytes = 1 << 20  // of UTF-8; the daemon's limit
	maxOtherBytes   = 4 << 20  // of one message beside its content: metadata of 64 KiB as JSON is never as large
	maxRequestBytes = 16 << 20 // the largest request that the daemon accepts
	maxIDs          = 1000     // of one request; the daemon's limit
	maxEvents       = 1000     // of one response of a stream; the daemon's limit, which also bounds their bytes
)

// draftRequest builds the request for one message; the error says that a field is invalid, or would not arrive unchanged.
func draftRequest(draft Draft, defaultSender *string) (*pb.SendMessageRequest, error) {
	var fields messageFields
	for _, option := range draft.Options {
		option.applyToMessage(&fields)
	}
	return messageRequest(draft.To, draft.Content, fields, defaultSender)
}

// messageRequest builds the request for one message, or for the copies of a broadcast if there is no recipient.
func messageRequest(to, content string, fields messageFields, defaultSender *string) (*pb.SendMessageRequest, error) {
	sender := fields.sender
	if sender == nil {
		sender = defaultSender
	}
	if sender == nil { // the daemon refuses an empty name
		return nil, invalid(ErrSenderInvalid, "sender",
			"sender is missing: pass From with the message, WithSender to the client, or set MAILROOM_AGENT")
	}
	key, err := keyOf(fields.key)
	if err != nil {
		return nil, err
	}
	request := &pb.SendMessageRequest{
		Recipient: to, Sender: *sender, Content: content, Type: fields.kind, ThreadId: fields.thread, InReplyTo: fields.inReplyTo,
		Priority: pb.Priority(fields.priority), IdempotencyKey: key, Ttl: durationOf(fields.ttl),
	}
	if fields.metadata != nil {
		if request.Metadata, err = structFrom(fields.metadata); err != nil {
			return nil, err
		}
	}
	if fields.replyBy != nil {
		request.ReplyBy = timestamppb.New(*fields.replyBy)
		if err := request.ReplyBy.CheckValid(); err != nil {
			return nil, invalid(ErrReplyByInvalid, "reply_by", "reply_by: %v is not a valid time: %v", *fields.replyBy, err)
		}
	}
	if err := checkMessage(request); err != nil {
		return nil, err
	}
	return request, nil
}

// checkMessage counts bytes here: beyond 16 MiB gRPC would refuse a request without a reason, and other messages with it.
func checkMessage(request *pb.SendMessageRequest) error {
	if size := len(request.Content); size > maxContentBytes {
		return invalid(ErrContentTooLarge, "content", "content has %d bytes, the limit is %d: shorten or split it", size, maxContentBytes)
	}
	texts := []struct{ field, text string }{
		{"recipient", request.Recipient},
		{"sender", request.Sender},
		{"content", request.Content},
		{"type", request.Type},
		{"thread_id", request.ThreadId},
		{"in_reply_to", request.InReplyTo},
		{"idempotency_key", request.IdempotencyKey},
	}
	for _, one := range texts {
		if err := checkText(one.field, one.text); err != nil {
			return err
		}
	}
	if proto.Size(request)-len(request.Content) > maxOtherBytes {
		reason := ErrRequestTooLarge
		if request.Metadata != nil {
			reason = ErrMetadataTooLarge
		}
		return invalid(reason, "metadata", "the fields of this message beside its content are too large: metadata may have 64 KiB as JSON")
	}
	return nil
}

// checkText refuses a text that protobuf cannot carry.
func checkText(field, text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	return invalid(ErrRequestMalformed, field, "%s is not valid UTF-8", field)
}

// newKey returns a key that nobody else has. It begins with the time, so that the daemon stores new keys side by side.
func newKey() string {
	var random [10]byte
	_, _ = rand.Read(random[:])
	return fmt.Sprintf("%012x%x", time.Now().UnixMilli(), random)
}

func keyOf(given *string) (string, error) {
	if given == nil {
		return newKey(), nil
	}
	if *given == "" { // the daemon would take it for none, and a repetition would double the message
		return "", invalid(ErrIdempotencyKeyInvalid, "idempotency_key", "the idempotency key is empty: give one, or leave it out")
	}
	return *given, nil
}

// durationOf returns a length of time as the contract has it; absent if there is none.
func durationOf(span *time.Duration) *durationpb.Duration {
	if span == nil {
		return nil
	}
	return durationpb.New(*span)
}

// countOf returns a number of entries as the contract has it.
func countOf(field string, count int) (int32, error) {
	if count < 0 || count > math.MaxInt32 {
		return 0, invalid(ErrLimitInvalid, field, "%s: %d is not a number of entries", field, count)
	}
	return int32(count), nil
}

// portions returns message ids in portions that one request takes.
func portions(ids []string) ([][]string, error) {
	var portions [][]string
	for len(ids) > 0 {
		portion := ids[:min(len(ids), maxIDs)]
		for _, id := range portion {
			if err := checkText("message_ids", id); err != nil {
				return nil, err
			}
		}
		portions = append(portions, portion)
		ids = ids[len(portion):]
	}
	return portions, nil
}
