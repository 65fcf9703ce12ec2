package mailroom_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

func TestAClientWithoutAnAddressFindsTheDaemonAndOneThatHasMoved(t *testing.T) {
	d := newDaemon(t)
	special := "unix:" + d.path("m %20?#.sock") // reaches the socket unchanged
	d.start("--listen", special)
	t.Setenv("MAILROOM_STATE_DIR", d.path("state"))
	t.Setenv("MAILROOM_ADDRESS", "")
	room := open(t, mailroom.WithSender("mover"), mailroom.WithGrace(bound), mailroom.WithTimeout(bound))
	send(t, room, "moved", "before")
	if room.Address() != special {
		t.Fatal(room.Address())
	}
	d.stop(syscall.SIGTERM)
	d.start()
	send(t, room, "moved", "after")
	if room.Address() != d.address {
		t.Fatal(room.Address())
	}
	d.assertStored(t, "moved", []string{"before", "after"}, true)
}

func TestAClientThatFindsNoDaemonSaysWhereItLooked(t *testing.T) {
	directory := t.TempDir()
	room := open(t, mailroom.WithAddress(directory+"/nothing.sock"), mailroom.WithSender("x"), mailroom.WithGrace(100*time.Millisecond))
	_, errCall := room.CheckInbox(t.Context(), "a")
	_, errSend := room.Send(t.Context(), "a", "x")
	_, errStream := mailroom.Collect(room.Subscribe(t.Context(), "a"))
	_, errBulk := mailroom.Collect(room.Bulk(t.Context(), slices.Values([]mailroom.Draft{mailroom.NewDraft("a", "x")})))
	for _, err := range []error{errCall, errSend, errStream, errBulk} {
		failure := assertError(t, err, codes.Unavailable, mailroom.ErrDaemonNotRunning, "")
		if !failure.Retryable() || !strings.Contains(err.Error(), "nothing.sock") || !strings.Contains(err.Error(), "Start it with `mailroomd`") {
			t.Fatal(err)
		}
	}
}
