package mailroom_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

func TestTrafficCountsWhoSendsHowMuchToWhom(t *testing.T) {
	room := shared(t).room(t)
	for range 2 {
		send(t, room, "busy", "x", mailroom.From("talkative"))
	}
	traffic, err := room.Traffic(t.Context(), time.Minute)
	if err != nil || traffic.Messages < 2 || traffic.Since.IsZero() {
		t.Fatal(traffic, err)
	}
	want := mailroom.PairTraffic{Sender: "talkative", Recipient: "busy", Messages: 2}
	if !slices.Contains(traffic.Pairs, want) {
		t.Fatal(traffic)
	}
	_, err = room.Traffic(t.Context(), -time.Second)
	assertError(t, err, codes.InvalidArgument, mailroom.ErrLimitInvalid, "period")
}
