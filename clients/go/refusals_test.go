package mailroom_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

func TestErrorsSayWhatIsWrong(t *testing.T) {
	room := shared(t).room(t)
	ctx := t.Context()
	sendWith := func(to string, options ...mailroom.SendOption) error {
		_, err := room.Send(ctx, to, "x", options...)
		return err
	}
	listWith := func(options ...mailroom.ListOption) error {
		_, err := mailroom.Collect(room.List(ctx, "a", options...))
		return err
	}
	_, errGet := room.Get(ctx, "0000000000000001")
	_, errID := room.Get(ctx, "x")
	_, errInbox := room.CheckInbox(ctx, "a b")
	_, errLimit := room.CheckInbox(ctx, "a", mailroom.Limit(-1))
	_, errWait := room.CheckInbox(ctx, "a", mailroom.Wait(-time.Second))
	failures := []struct {
		err    error
		code   codes.Code
		reason mailroom.Reason
		field  string
	}{
		{errGet, codes.NotFound, mailroom.ErrMessageNotFound, ""},
		{errID, codes.InvalidArgument, mailroom.ErrMessageIDInvalid, "id"},
		{errInbox, codes.InvalidArgument, mailroom.ErrAgentInvalid, "agent"},
		{errLimit, codes.InvalidArgument, mailroom.ErrLimitInvalid, "limit"},
		{errWait, codes.InvalidArgument, mailroom.ErrWaitInvalid, "wait"},
		{sendWith("a b"), codes.InvalidArgument, mailroom.ErrRecipientInvalid, "recipient"},
		{sendWith("a", mailroom.From("")), codes.InvalidArgument, mailroom.ErrSenderInvalid, "sender"},
		{sendWith("a", mailroom.TTL(-1)), codes.InvalidArgument, mailroom.ErrTTLInvalid, "ttl"},
		{sendWith("a", mailroom.TTL(0)), codes.InvalidArgument, mailroom.ErrTTLInvalid, "ttl"},
		{sendWith("a", mailroom.ReplyBy(time.Time{})), codes.InvalidArgument, mailroom.ErrReplyByInvalid, "reply_by"},
		{sendWith("a", mailroom.ReplyBy(time.Unix(1<<60, 0))), codes.InvalidArgument, mailroom.ErrReplyByInvalid, "reply_by"},
		{sendWith("a", mailroom.Key("ü")), codes.InvalidArgument, mailroom.ErrIdempotencyKeyInvalid, "idempotency_key"},
		{sendWith("a", mailroom.Key("")), codes.InvalidArgument, mailroom.ErrIdempotencyKeyInvalid, "idempotency_key"},
		{sendWith("a", mailroom.Priority(9)), codes.InvalidArgument, mailroom.ErrPriorityInvalid, "priority"},
		{sendWith("a", mailroom.Type(strings.Repeat("x", 129))), codes.InvalidArgument, mailroom.ErrTypeTooLong, "type"},
		{listWith(mailroom.PageToken("x")), codes.InvalidArgument, mailroom.ErrPageTokenInvalid, "page_token"},
		{listWith(mailroom.PageSize(-1)), codes.InvalidArgument, mailroom.ErrLimitInvalid, "page_size"},
	}
	for _, one := range failures {
		failure := assertError(t, one.err, one.code, one.reason, one.field)
		if failure.Retryable() || len(failure.Message) < 10 || status.Code(one.err) != one.code {
			t.Fatalf("%+v", failure)
		}
	}
}

func TestAKeyOfAnotherMessageIsRefused(t *testing.T) {
	room := shared(t).room(t)
	first := send(t, room, "keyed", "one", mailroom.Key("used"))
	if again := send(t, room, "keyed", "one", mailroom.Key("used")); again.Message.ID != first.Message.ID {
		t.Fatal("the same send is another message")
	}
	_, err := room.Send(t.Context(), "keyed", "two", mailroom.Key("used"))
	if failure := assertError(t, err, codes.AlreadyExists, mailroom.ErrIdempotencyKeyReused, "idempotency_key"); failure.Key != "used" {
		t.Fatalf("the key is %q", failure.Key)
	}
}

func TestAFullMailboxRefusesWithADelay(t *testing.T) {
	d := strict.get(t)
	room := d.room(t)
	if _, err := mailroom.Collect(room.Bulk(t.Context(), draftsFor("full", 200))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond) // the delay is a second at least
	defer cancel()
	_, err := room.Send(ctx, "full", "3")
	failure := assertError(t, err, codes.ResourceExhausted, mailroom.ErrMailboxFull, "recipient")
	if !failure.Retryable() || failure.RetryAfter <= 0 || failure.Key == "" {
		t.Fatalf("%+v", failure)
	}
	if ctx.Err() != nil {
		t.Fatal("it waited, although the delay is longer than its time")
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	d := victim.get(t)
	room := d.room(t)
	send(t, room, "late", "before")
	resume := d.stopWorker(t, "gateway")
	defer resume()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := room.CheckInbox(ctx, "late")
	if failure := assertError(t, err, codes.DeadlineExceeded, "", ""); !errors.Is(err, context.DeadlineExceeded) || !failure.Retryable() {
		t.Fatalf("%+v", failure)
	}
	enough := errors.New("enough")
	canceled, stop := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { stop(enough) })
	_, err = room.Get(canceled, "0000000000000001")
	assertError(t, err, codes.Canceled, "", "")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if _, err = mailroom.Collect(room.Agents(canceled)); !errors.Is(err, enough) {
		t.Fatal("a context that has ended already ends a call:", err)
	}
	short := d.room(t, mailroom.WithTimeout(100*time.Millisecond))
	_, err = short.Send(t.Context(), "late", "x", mailroom.Key("late-key"))
	if failure := assertError(t, err, codes.DeadlineExceeded, "", ""); failure.Key != "late-key" {
		t.Fatalf("%+v", failure)
	}
}

func TestAClosedClientRefusesCallsAndEndsThoseThatRun(t *testing.T) {
	room := shared(t).room(t)
	errs := make(chan error)
	go func() {
		_, err := room.CheckInbox(context.Background(), "closing", mailroom.Wait(bound))
		errs <- err
	}()
	waitUntil(t, "the call has arrived", func() bool {
		agents, err := mailroom.Collect(shared(t).room(t).Agents(t.Context()))
		return err == nil && slices.ContainsFunc(agents, func(agent *mailroom.Agent) bool { return agent.Name == "closing" })
	})
	if err := room.Close(); err != nil {
		t.Fatal(err)
	}
	assertError(t, <-errs, codes.Canceled, mailroom.ErrClientClosed, "")
	_, err := room.Send(t.Context(), "closing", "x")
	if failure := assertError(t, err, codes.Canceled, mailroom.ErrClientClosed, ""); failure.Retryable() {
		t.Fatal("it is retryable")
	}
	for _, err := range room.Subscribe(t.Context(), "closing") {
		assertError(t, err, codes.Canceled, mailroom.ErrClientClosed, "")
	}
	if err := room.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAClientWithoutANameCannotSend(t *testing.T) {
	room := open(t, mailroom.WithAddress(shared(t).address))
	_, err := room.Send(t.Context(), "a", "x")
	assertError(t, err, codes.InvalidArgument, mailroom.ErrSenderInvalid, "sender")
	if sender := send(t, room, "a", "x", mailroom.From("named")).Message.Sender; room.Sender() != "" || sender != "named" {
		t.Fatal(sender)
	}
}
