package mailroom_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

// A reader pulls the events of a subscription.
type reader struct {
	t    testing.TB
	next func() (mailroom.Event, error, bool)
}

func read(t testing.TB, events iter.Seq2[mailroom.Event, error]) reader {
	t.Helper()
	next, stop := iter.Pull2(events)
	t.Cleanup(stop)
	return reader{t, next}
}

// event returns the next event.
func (r reader) event() mailroom.Event {
	r.t.Helper()
	event, err, isOpen := r.next()
	if err != nil || !isOpen {
		r.t.Fatal("the subscription ended:", err)
	}
	return event
}

// caughtUp reads up to the end of the replay.
func (r reader) caughtUp() mailroom.CaughtUp {
	r.t.Helper()
	for {
		if event, isCaughtUp := r.event().(mailroom.CaughtUp); isCaughtUp {
			return event
		}
	}
}

// messages reads messages.
func (r reader) messages(count int) (messages []*mailroom.Message) {
	r.t.Helper()
	for len(messages) < count {
		if message, isMessage := r.event().(*mailroom.Message); isMessage {
			messages = append(messages, message)
		}
	}
	return messages
}

// receipt reads up to the receipt for a message and a state.
func (r reader) receipt(id string, state mailroom.State) *mailroom.Receipt {
	r.t.Helper()
	for {
		if receipt, isReceipt := r.event().(*mailroom.Receipt); isReceipt && receipt.MessageID == id && receipt.State == state {
			return receipt
		}
	}
}

func TestSubscribeResumesWithoutGapOrRepeat(t *testing.T) {
	d := victim.get(t)
	restart := func(signal syscall.Signal) func() {
		return func() {
			d.stop(signal)
			d.start()
		}
	}
	for name, happening := range map[string]func(){
		"kill -9 of the gateway": func() { d.killWorker(t, "gateway") },
		"SIGTERM":                restart(syscall.SIGTERM),
		"kill -9 of the daemon":  restart(syscall.SIGKILL),
	} {
		t.Run(name, func(t *testing.T) { assertResumes(t, d, strings.ReplaceAll(name, " ", "-"), happening) })
	}
}

func assertResumes(t *testing.T, d *daemon, agent string, happening func()) {
	var interruptions []error
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	events := d.room(t).Subscribe(ctx, agent, mailroom.OnInterrupted(func(err error) { interruptions = append(interruptions, err) }))
	var group sync.WaitGroup
	live := make(chan struct{})
	var received []string
	group.Go(func() {
		first := true
		for event, err := range events {
			if err != nil {
				t.Error(err)
				return
			}
			switch event := event.(type) {
			case mailroom.CaughtUp:
				if first {
					close(live)
				}
				first = false
			case *mailroom.Message:
				received = append(received, event.Content)
				if event.Content == "the last one" {
					return
				}
			}
		}
		t.Error("the subscription ended")
	})
	<-live
	sent := sendUntil(t, d.room(t), agent, 1, func(count func() int) {
		waitUntil(t, "some are sent", func() bool { return count() > 20 })
		happening()
		before := count()
		waitUntil(t, "more are sent", func() bool { return count() > before+20 })
	})
	send(t, d.room(t), agent, "the last one")
	group.Wait()
	assertSame(t, "the stream", received, append(sent, "the last one"), true)
	if len(interruptions) == 0 {
		t.Fatal("the stream never broke")
	}
}

func TestSubscribeStartsWithWhatComesNext(t *testing.T) {
	room := shared(t).room(t)
	before := send(t, room, "live", "before").Message
	events := read(t, room.Subscribe(t.Context(), "live"))
	if caughtUp := events.caughtUp(); caughtUp.EventID() < before.ID {
		t.Fatalf("%v", caughtUp)
	}
	after := send(t, room, "live", "after").Message
	if message := events.messages(1)[0]; message.Content != "after" || message.EventID() != after.ID {
		t.Fatalf("%+v", message)
	}
}

func TestSubscribeStartsAfterAnEventOrAtTheBeginning(t *testing.T) {
	room := shared(t).room(t)
	first := send(t, room, "replayed", "one").Message.ID
	send(t, room, "replayed", "two")
	rest := read(t, room.Subscribe(t.Context(), "replayed", mailroom.After(first))).messages(1)
	all := read(t, room.Subscribe(t.Context(), "replayed", mailroom.After(mailroom.Beginning))).messages(2)
	if !slices.Equal(contentsOf(rest), []string{"two"}) || !slices.Equal(contentsOf(all), []string{"one", "two"}) {
		t.Fatal(contentsOf(rest), contentsOf(all))
	}
}

func TestALongReplayArrivesInOrder(t *testing.T) {
	room := shared(t).room(t)
	contents := make([]string, 3000)
	drafts := make([]mailroom.Draft, len(contents))
	for i := range contents {
		contents[i] = fmt.Sprint("long ", i)
		drafts[i] = mailroom.NewDraft("long", contents[i])
	}
	for outcome, err := range room.Bulk(t.Context(), slices.Values(drafts)) {
		if err != nil || outcome.Err != nil {
			t.Fatal(outcome, err)
		}
	}
	messages := read(t, room.Subscribe(t.Context(), "long", mailroom.After(mailroom.Beginning), mailroom.Observe())).messages(3000)
	assertSame(t, "the stream", contentsOf(messages), contents, true)
}

func TestSubscribeStartsWithTheUnreadMessages(t *testing.T) {
	room := shared(t).room(t)
	gone := send(t, room, "unread", "read").Message.ID
	send(t, room, "unread", "unread")
	if _, _, err := room.Acknowledge(t.Context(), "unread", gone); err != nil {
		t.Fatal(err)
	}
	events := read(t, room.Subscribe(t.Context(), "unread", mailroom.Unread()))
	message, isMessage := events.event().(*mailroom.Message)
	if !isMessage || message.Content != "unread" {
		t.Fatalf("%+v", message)
	}
	if _, isCaughtUp := events.event().(mailroom.CaughtUp); !isCaughtUp {
		t.Fatal("the replay goes on")
	}
}

func TestSubscribeMarksMessagesOfferedUnlessItObserves(t *testing.T) {
	room := shared(t).room(t)
	id := send(t, room, "offered", "look").Message.ID
	read(t, room.Subscribe(t.Context(), "offered", mailroom.Unread(), mailroom.Observe())).caughtUp()
	if state := get(t, room, id).Message.State; state != mailroom.StateFiled {
		t.Fatalf("an observer made it %v", state)
	}
	read(t, room.Subscribe(t.Context(), "offered", mailroom.Unread())).caughtUp()
	events := read(t, room.Subscribe(t.Context(), "tester", mailroom.After(id), mailroom.Receipts()))
	receipt := events.receipt(id, mailroom.StateOffered)
	if receipt.Recipient != "offered" || receipt.Time.IsZero() || receipt.EventID() <= id {
		t.Fatalf("%+v", receipt)
	}
}

func TestASenderGetsOneReceiptIfThereIsNoAnswerInTime(t *testing.T) {
	room := shared(t).room(t, mailroom.WithSender("asker"))
	events := read(t, room.Subscribe(t.Context(), "asker", mailroom.Receipts()))
	events.caughtUp()
	id := send(t, room, "silent", "and?", mailroom.ReplyWithin(-time.Second)).Message.ID
	events.receipt(id, mailroom.StateOverdue)
}

func TestSubscribeYieldsResponsesFromAnOutboxAlsoLargeOnes(t *testing.T) {
	d := shared(t)
	events := read(t, d.room(t).Subscribe(t.Context(), "session-1"))
	events.caughtUp()
	bodies := map[string]map[string]any{
		"small.json": {"done": true, "list": []any{1.0, nil, "x"}},
		"large.json": {"text": strings.Repeat("ü", 600_000)},
	}
	directory := filepath.Join(d.path("root"), "outbox", "session-1")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, body := range bodies {
		text, err := json.Marshal(body)
		if err == nil {
			err = os.WriteFile(filepath.Join(directory, "."+name), text, 0o600)
		}
		if err == nil {
			err = os.Rename(filepath.Join(directory, "."+name), filepath.Join(directory, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	found := map[string]map[string]any{}
	for len(found) < len(bodies) {
		response, isResponse := events.event().(*mailroom.Response)
		if !isResponse {
			continue
		}
		var body map[string]any
		if err := json.Unmarshal(response.Body, &body); err != nil || response.SessionID != "session-1" || response.Time.IsZero() {
			t.Fatal(err)
		}
		found[response.FileName] = body
	}
	if !reflect.DeepEqual(found, bodies) {
		t.Fatalf("%.200v", found)
	}
}

func TestSubscribeAllYieldsTheMessagesOfEveryMailbox(t *testing.T) {
	room := shared(t).room(t)
	events := read(t, room.SubscribeAll(t.Context()))
	events.caughtUp()
	send(t, room, "first-of-all", "1")
	send(t, room, "second-of-all", "2")
	messages := events.messages(2)
	if messages[0].Recipient != "first-of-all" || messages[1].Recipient != "second-of-all" {
		t.Fatal(messages)
	}
	short := read(t, room.SubscribeAll(t.Context(), mailroom.Preview(4)))
	short.caughtUp()
	send(t, room, "first-of-all", "1234 and more", mailroom.Metadata{"a": 1})
	if found := short.messages(1)[0]; found.Content != "1234" || found.ContentSize != 13 || len(found.Metadata) != 0 {
		t.Fatal(found)
	}
}

func TestSubscribeEndsWithItsContextAndItsClient(t *testing.T) {
	room := shared(t).room(t)
	ctx, cancel := context.WithCancel(t.Context())
	end := map[string]func(){"context": cancel, "client": func() { _ = room.Close() }}
	for _, name := range []string{"context", "client"} {
		subscribed := t.Context()
		if name == "context" {
			subscribed = ctx
		}
		for event, err := range room.Subscribe(subscribed, "ended") {
			if _, isCaughtUp := event.(mailroom.CaughtUp); !isCaughtUp || err != nil {
				t.Fatal(event, err)
			}
			time.AfterFunc(20*time.Millisecond, end[name])
		}
	}
}

func TestSubscribeFailsForGoodWhereTheRequestIsWrong(t *testing.T) {
	room := shared(t).room(t)
	failure := func(options ...mailroom.SubscribeOption) error {
		_, err := mailroom.Collect(room.Subscribe(t.Context(), "wrong", options...))
		return err
	}
	assertError(t, failure(mailroom.After("no place")), codes.InvalidArgument, mailroom.ErrAfterIDInvalid, "after_id")
	assertError(t, failure(mailroom.After(mailroom.Beginning), mailroom.Unread()), codes.InvalidArgument, mailroom.ErrOptionsConflict, "after_id")
	_, err := mailroom.Collect(room.Subscribe(t.Context(), ""))
	assertError(t, err, codes.InvalidArgument, mailroom.ErrAgentInvalid, "agent")
}
