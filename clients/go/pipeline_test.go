package mailroom_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

// concurrently runs a function for each number below count, all at the same time, and waits for all.
func concurrently(count int, run func(int)) {
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { run(i) })
	}
	group.Wait()
}

func TestConcurrentSendsReturnWhatASingleSendReturns(t *testing.T) {
	room := shared(t).room(t)
	concurrently(50, func(i int) {
		content := fmt.Sprint("same ", i)
		sent, err := room.Send(t.Context(), "same", content, mailroom.Metadata{"i": i}, mailroom.Urgent, mailroom.Thread("t"), mailroom.Type("note"))
		if err != nil {
			t.Error(err)
			return
		}
		stored := get(t, room, sent.Message.ID).Message
		if sent.Message.Content != content || !reflect.DeepEqual(sent.Message, stored) {
			t.Errorf("%+v instead of %+v", sent.Message, stored)
		}
	})
}

func TestTheOrderOfOneGoroutinesSendsIsKept(t *testing.T) {
	room := shared(t).room(t)
	concurrently(16, func(i int) {
		for j := range 20 {
			send(t, room, fmt.Sprint("ordered-", i), fmt.Sprint(j))
		}
	})
	var contents []string
	for j := range 20 {
		contents = append(contents, fmt.Sprint(j))
	}
	for i := range 16 {
		shared(t).assertStored(t, fmt.Sprint("ordered-", i), contents, true)
	}
}

func TestConcurrentSendsHaveErrorsOfTheirOwn(t *testing.T) {
	room := shared(t).room(t)
	concurrently(60, func(i int) {
		key := fmt.Sprint("own-", i)
		recipient := "own"
		if i%3 == 0 {
			recipient = "not a name"
		}
		sent, err := room.Send(t.Context(), recipient, "x", mailroom.Key(key))
		if i%3 != 0 {
			if err != nil || sent.Message.Recipient != "own" {
				t.Error(sent, err)
			}
			return
		}
		var failure *mailroom.Error
		if !errors.As(err, &failure) || failure.Code != codes.InvalidArgument || failure.Reason != mailroom.ErrRecipientInvalid ||
			failure.Field != "recipient" || failure.Key != key {
			t.Errorf("%+v", err)
		}
	})
}

func TestConcurrentSendsWithOneKeyAreOneMessage(t *testing.T) {
	room := shared(t).room(t)
	concurrently(40, func(int) { send(t, room, "once", "the same", mailroom.Key("a-key-for-all")) })
	shared(t).assertStored(t, "once", []string{"the same"}, true)
}

func TestConcurrentSendsAreCanceledOneByOne(t *testing.T) {
	d := victim.get(t)
	room := d.room(t)
	send(t, room, "kept", "before")
	resume := d.stopWorker(t, "gateway")
	ctx, cancel := context.WithCancel(t.Context())
	var started, canceled atomic.Int32
	time.AfterFunc(300*time.Millisecond, func() {
		cancel()
		waitUntil(t, "the canceled sends have returned", func() bool { return canceled.Load() == 20 })
		resume()
	})
	wanted := []string{"before"}
	for i := range 20 {
		wanted = append(wanted, fmt.Sprint("kept ", i))
	}
	concurrently(40, func(i int) {
		started.Add(1)
		if i < 20 {
			send(t, room, "kept", fmt.Sprint("kept ", i))
			return
		}
		if _, err := room.Send(ctx, "dropped", "x"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		canceled.Add(1)
	})
	d.assertStored(t, "kept", wanted, false)
}

// sendUntil lets goroutines send until something has happened, and each a little longer; it returns what was acknowledged.
func sendUntil(t *testing.T, room *mailroom.Client, to string, senders int, happening func(count func() int)) []string {
	t.Helper()
	var mutex sync.Mutex
	var acknowledged []string
	var next atomic.Int64
	count := func() int {
		mutex.Lock()
		defer mutex.Unlock()
		return len(acknowledged)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		happening(count)
	}()
	concurrently(senders, func(int) {
		for {
			content := fmt.Sprint(to, " ", next.Add(1))
			if _, err := room.Send(context.Background(), to, content); err != nil {
				t.Error(err)
				return
			}
			mutex.Lock()
			acknowledged = append(acknowledged, content)
			mutex.Unlock()
			select {
			case <-over:
				return
			default:
			}
		}
	})
	return acknowledged
}

func TestSendsSurviveKill9OfTheGateway(t *testing.T) {
	d := victim.get(t)
	acknowledged := sendUntil(t, d.room(t), "gateway-killed", 256, func(count func() int) {
		for range 2 {
			before := count()
			waitUntil(t, "many sends are acknowledged", func() bool { return count() > before+300 })
			d.killWorker(t, "gateway")
		}
	})
	d.assertStored(t, "gateway-killed", acknowledged, false)
}

func TestSendsSurviveKill9OfTheDaemon(t *testing.T) {
	d := victim.get(t)
	acknowledged := sendUntil(t, d.room(t), "daemon-killed", 256, func(count func() int) {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			before := count()
			waitUntil(t, "many sends are acknowledged", func() bool { return count() > before+300 })
			d.stop(signal)
			d.start()
		}
	})
	d.assertStored(t, "daemon-killed", acknowledged, false)
}

func TestSendsEndAtTheirDeadlineWhileTheGatewayHangs(t *testing.T) {
	d := victim.get(t)
	room := d.room(t)
	send(t, room, "hanging", "before")
	resume := d.stopWorker(t, "gateway")
	wanted := []string{"before"}
	for i := range 10 {
		wanted = append(wanted, fmt.Sprint("hangs ", i))
	}
	started := time.Now()
	concurrently(10, func(i int) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := room.Send(ctx, "hanging", fmt.Sprint("hangs ", i), mailroom.Key(fmt.Sprint("hang-", i)))
		var failure *mailroom.Error
		if !errors.As(err, &failure) || failure.Code != codes.DeadlineExceeded || failure.Key != fmt.Sprint("hang-", i) {
			t.Errorf("%+v", err)
		}
	})
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("the sends ended after %v", took)
	}
	resume()
	concurrently(10, func(i int) { send(t, room, "hanging", fmt.Sprint("hangs ", i), mailroom.Key(fmt.Sprint("hang-", i))) })
	d.assertStored(t, "hanging", wanted, false)
}

func TestSendsEndAtTheirDeadlineWhileTheDaemonIsAwayAndSaySo(t *testing.T) {
	d := victim.get(t)
	room := d.room(t)
	send(t, room, "away", "before")
	d.stop(syscall.SIGTERM)
	concurrently(10, func(i int) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := room.Send(ctx, "away", fmt.Sprint("away ", i), mailroom.Key(fmt.Sprint("away-", i)))
		var failure *mailroom.Error
		if !errors.As(err, &failure) || failure.Reason != mailroom.ErrDaemonNotRunning || !failure.Retryable() || failure.Key == "" {
			t.Errorf("%+v", err)
		}
	})
	d.start()
	wanted := []string{"before"}
	for i := range 10 {
		wanted = append(wanted, fmt.Sprint("away ", i))
	}
	concurrently(10, func(i int) { send(t, room, "away", fmt.Sprint("away ", i), mailroom.Key(fmt.Sprint("away-", i))) })
	d.assertStored(t, "away", wanted, false)
}

func TestAClientWithoutAFreeStreamStillSends(t *testing.T) {
	d := strict.get(t)
	room := d.room(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	live := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { // holds the only stream
		for event, err := range room.Subscribe(ctx, "streams") {
			if err != nil {
				t.Error(err)
			} else if _, isCaughtUp := event.(mailroom.CaughtUp); isCaughtUp {
				close(live)
			}
		}
	})
	<-live
	var contents []string
	for i := range 100 {
		contents = append(contents, fmt.Sprint("alone ", i))
	}
	concurrently(len(contents), func(i int) { send(t, room, "streams", contents[i]) })
	d.assertStored(t, "streams", contents, false)
	cancel()
	group.Wait()
}

func TestMailForATeamTravelsAlone(t *testing.T) {
	room := shared(t).room(t)
	concurrently(10, func(i int) {
		sent, err := room.Send(t.Context(), "bob@alpha", fmt.Sprint(i))
		if err != nil || sent.Message.Recipient != "bob@alpha" || !strings.Contains(sent.Message.Content, fmt.Sprint(i)) {
			t.Error(sent, err)
		}
	})
	shared(t).assertStored(t, "bob@alpha", slices.Collect(func(yield func(string) bool) {
		for i := range 10 {
			if !yield(fmt.Sprint(i)) {
				return
			}
		}
	}), false)
}
