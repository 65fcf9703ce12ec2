package mailroom_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

// draftsFor yields drafts to an agent, numbered from 0.
func draftsFor(agent string, count int) iter.Seq[mailroom.Draft] {
	return func(yield func(mailroom.Draft) bool) {
		for i := 0; i < count && yield(mailroom.NewDraft(agent, fmt.Sprint("draft ", i))); i++ {
		}
	}
}

func TestBulkYieldsAnOutcomeForEachDraftInOrder(t *testing.T) {
	room := shared(t).room(t)
	drafts := slices.Collect(draftsFor("many", 1200))
	drafts[600].To = "not a name"
	drafts[700].Content = "\xff"
	drafts[800].Content = strings.Repeat("x", 1<<20+1)
	reasons := map[int]mailroom.Reason{
		600: mailroom.ErrRecipientInvalid, 700: mailroom.ErrRequestMalformed, 800: mailroom.ErrContentTooLarge,
	}
	var stored []string
	next := 0
	for outcome, err := range room.Bulk(t.Context(), slices.Values(drafts)) {
		if err != nil || outcome.Recipient != drafts[next].To {
			t.Fatal(outcome, err)
		}
		if reason, isWrong := reasons[next]; isWrong {
			if !errors.Is(outcome.Err, reason) || outcome.Sent != nil {
				t.Fatalf("%d: %+v", next, outcome)
			}
		} else {
			if outcome.Err != nil || outcome.Sent.Message.ID == "" {
				t.Fatalf("%d: %+v", next, outcome)
			}
			stored = append(stored, drafts[next].Content)
		}
		next++
	}
	if next != len(drafts) {
		t.Fatalf("%d outcomes", next)
	}
	shared(t).assertStored(t, "many", stored, true)
}

func TestBulkOfNothingAndOfInvalidDraftsOnly(t *testing.T) {
	room := shared(t).room(t)
	if outcomes, err := mailroom.Collect(room.Bulk(t.Context(), draftsFor("none", 0))); err != nil || len(outcomes) > 0 {
		t.Fatal(outcomes, err)
	}
	invalid := []mailroom.Draft{mailroom.NewDraft("none", "\xff")}
	outcomes, err := mailroom.Collect(room.Bulk(t.Context(), slices.Values(invalid)))
	if err != nil || len(outcomes) != 1 || !errors.Is(outcomes[0].Err, mailroom.ErrRequestMalformed) {
		t.Fatal(outcomes, err)
	}
}

func TestBulkRunsABoundedNumberOfDraftsAheadAndStopsWithItsLoop(t *testing.T) {
	room := shared(t).room(t)
	taken, hasEnded := 0, false
	endless := func(yield func(mailroom.Draft) bool) {
		defer func() { hasEnded = true }()
		for yield(mailroom.NewDraft("endless", fmt.Sprint(taken))) {
			taken++
		}
	}
	count := 0
	for outcome, err := range room.Bulk(t.Context(), endless) {
		if err != nil || outcome.Err != nil {
			t.Fatal(outcome, err)
		}
		if count++; count == 300 {
			break
		}
	}
	if !hasEnded || taken > 1500 {
		t.Fatal(hasEnded, taken)
	}
}

func TestBulkSurvivesRestartsWithoutDoubles(t *testing.T) {
	d := victim.get(t)
	const count = 6000
	signals := map[int]syscall.Signal{500: syscall.SIGKILL, 3000: syscall.SIGTERM}
	outcomes := 0
	restarted := make(chan struct{}, len(signals))
	for outcome, err := range d.room(t).Bulk(t.Context(), draftsFor("restarted", count)) {
		if err != nil || outcome.Err != nil {
			t.Fatal(outcomes, outcome, err)
		}
		outcomes++
		if signal, isDue := signals[outcomes]; isDue {
			go func() {
				d.stop(signal)
				d.start()
				restarted <- struct{}{}
			}()
			if outcomes == 3000 {
				<-restarted // the first one
			}
		}
	}
	<-restarted
	var wanted []string
	for draft := range draftsFor("restarted", count) {
		wanted = append(wanted, draft.Content)
	}
	if outcomes != count {
		t.Fatalf("%d outcomes", outcomes)
	}
	d.assertStored(t, "restarted", wanted, true)
}

func TestBulkEndsWithItsContextAndAtItsTimeout(t *testing.T) {
	d := victim.get(t)
	room := d.room(t, mailroom.WithTimeout(300*time.Millisecond))
	send(t, d.room(t), "stalled", "before")
	resume := d.stopWorker(t, "gateway")
	defer resume()
	_, err := mailroom.Collect(room.Bulk(t.Context(), draftsFor("stalled", 10)))
	assertError(t, err, codes.DeadlineExceeded, "", "")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = mailroom.Collect(d.room(t).Bulk(ctx, draftsFor("stalled", 10)))
	assertError(t, err, codes.DeadlineExceeded, "", "")
	canceled, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	_, err = mailroom.Collect(d.room(t).Bulk(canceled, draftsFor("stalled", 10)))
	assertError(t, err, codes.Canceled, "", "")
}
