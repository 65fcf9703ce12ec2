package mailroom_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mailroom-daemon/mailroom/clients/go"
	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

func TestUnknownEventsArePassedOverAndThePlaceMovesOn(t *testing.T) {
	events, places := playStreams(t, [][]*pb.SubscribeResponse{
		{caughtUpEvent(1), messageEvent(2), unknownEvent(3)},
		{caughtUpEvent(4), messageEvent(5)},
	}, "5")
	if !slices.Equal(events, []string{"caught up", "2", "caught up", "5"}) || !slices.Equal(places, []string{"", place(3)}) {
		t.Fatal(events, places)
	}
}

func TestAnEventThatComesTwiceIsYieldedOnce(t *testing.T) {
	events, _ := playStreams(t, [][]*pb.SubscribeResponse{
		{messageEvent(2), messageEvent(3)},
		{messageEvent(3), caughtUpEvent(3), messageEvent(4)},
	}, "4", mailroom.After(mailroom.Beginning))
	if !slices.Equal(events, []string{"2", "3", "caught up", "4"}) {
		t.Fatal(events)
	}
}

func TestAReplayOfUnreadMessagesThatBreaksIsRepeated(t *testing.T) {
	events, places := playStreams(t, [][]*pb.SubscribeResponse{
		{messageEvent(2), messageEvent(5)},
		{messageEvent(2), messageEvent(3), messageEvent(5), caughtUpEvent(6), messageEvent(7)},
	}, "7", mailroom.Unread())
	if !slices.Equal(events, []string{"2", "5", "3", "caught up", "7"}) || !slices.Equal(places, []string{"", ""}) {
		t.Fatal(events, places)
	}
}

func TestEventsThatComeInBatchesAreYieldedOneByOne(t *testing.T) {
	batch := func(events ...*pb.SubscribeResponse) *pb.SubscribeResponse {
		return &pb.SubscribeResponse{EventId: events[len(events)-1].EventId, Events: events}
	}
	events, places := playStreams(t, [][]*pb.SubscribeResponse{
		{batch(messageEvent(2), unknownEvent(3), messageEvent(4), goingAwayEvent(4))},
		{batch(messageEvent(4), caughtUpEvent(4)), batch(messageEvent(5), messageEvent(6))},
	}, "6", mailroom.After(place(1)))
	if !slices.Equal(events, []string{"2", "4", "caught up", "5", "6"}) || !slices.Equal(places, []string{place(1), place(4)}) {
		t.Fatal(events, places)
	}
}

func TestAPlaceThatTheDaemonNeverIssuedIsCorrected(t *testing.T) {
	events, places := playStreams(t, [][]*pb.SubscribeResponse{
		{caughtUpEvent(3), messageEvent(4)},
		{caughtUpEvent(4), messageEvent(5)},
	}, "5", mailroom.After(place(1000)))
	if !slices.Equal(events, []string{"caught up", "4", "caught up", "5"}) || !slices.Equal(places, []string{place(1000), place(4)}) {
		t.Fatal(events, places)
	}
}

func TestCaughtUpSaysThatEventsAreGone(t *testing.T) {
	daemon := &strangeDaemon{subscribe: func(request *pb.SubscribeRequest, stream messages) error {
		caughtUp := caughtUpEvent(7)
		caughtUp.GetCaughtUp().Gap = request.AfterId == place(3)
		if err := stream.Send(caughtUp); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}}
	room := daemon.start(t)
	for _, after := range []string{place(3), place(5)} {
		for event, err := range room.Subscribe(t.Context(), "abc", mailroom.After(after)) {
			if want := (mailroom.CaughtUp{LastID: place(7), Gap: after == place(3)}); err != nil || event != want {
				t.Fatal(event, want, err)
			}
			break
		}
	}
}

func TestResourceExhaustedIsRepeatedOnlyAfterADelay(t *testing.T) {
	calls := 0
	d := &strangeDaemon{checkInbox: func() (*pb.CheckInboxResponse, error) {
		calls++
		return nil, status.Error(codes.ResourceExhausted, "received message larger than max")
	}}
	_, err := d.start(t).CheckInbox(t.Context(), "a")
	if failure := assertError(t, err, codes.ResourceExhausted, "", ""); failure.Retryable() || calls != 1 {
		t.Fatal(failure, calls)
	}

	calls = 0
	var first time.Time
	d = &strangeDaemon{checkInbox: func() (*pb.CheckInboxResponse, error) {
		if calls++; calls == 2 {
			if waited := time.Since(first); waited < 300*time.Millisecond {
				return nil, status.Error(codes.FailedPrecondition, waited.String())
			}
			return &pb.CheckInboxResponse{}, nil
		}
		first = time.Now()
		full, _ := status.New(codes.ResourceExhausted, "full").WithDetails(
			&errdetails.ErrorInfo{Reason: "MAILBOX_FULL", Domain: "mailroom"},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(300 * time.Millisecond)})
		return nil, full.Err()
	}}
	if _, err := d.start(t).CheckInbox(t.Context(), "a"); err != nil || calls != 2 {
		t.Fatal(err, calls)
	}
}

func TestABrokenConnectionIsRepeatedWhateverItsCode(t *testing.T) {
	broken := []codes.Code{codes.Internal, codes.Canceled, codes.Unavailable}
	d := &strangeDaemon{checkInbox: func() (*pb.CheckInboxResponse, error) {
		if len(broken) == 0 {
			return &pb.CheckInboxResponse{}, nil
		}
		code := broken[0]
		broken = broken[1:]
		return nil, status.Error(code, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR")
	}}
	if _, err := d.start(t, mailroom.WithGrace(bound)).CheckInbox(t.Context(), "a"); err != nil || len(broken) > 0 {
		t.Fatal(err, broken)
	}
}

func TestAnErrorOfTheDaemonIsNotRepeated(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.Unknown, codes.FailedPrecondition, codes.DataLoss} {
		calls := 0
		d := &strangeDaemon{checkInbox: func() (*pb.CheckInboxResponse, error) {
			calls++
			return nil, status.Error(code, "no")
		}}
		_, err := d.start(t).CheckInbox(t.Context(), "a")
		assertError(t, err, code, "", "")
		if calls != 1 {
			t.Fatalf("%v was repeated", code)
		}
	}
}

func TestACallThatTheDaemonDoesNotHaveSaysSo(t *testing.T) {
	room := (&strangeDaemon{}).start(t)
	_, err := room.Healthy(t.Context())
	if failure := assertError(t, err, codes.Unimplemented, "", ""); failure.Message != "the daemon does not support this call: "+
		"it is older than this client. Restart it after an upgrade." {
		t.Fatal(err)
	}
	concurrently(5, func(int) {
		if _, err := room.Send(t.Context(), "a", "x"); status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	})
}

func TestAClientOfAGivenConnection(t *testing.T) {
	d := victim.get(t)
	conn, err := grpc.NewClient("unix:"+d.path("m.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	room := mailroom.New(conn, mailroom.WithSender("given"), mailroom.WithTimeout(bound))
	send(t, room, "given", "before")
	events := read(t, room.Subscribe(t.Context(), "given"))
	events.caughtUp()
	contents := []string{"before"}
	for i := range 50 {
		contents = append(contents, fmt.Sprint("given ", i))
	}
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		d.stop(9)
		d.start()
	}()
	concurrently(50, func(i int) { send(t, room, "given", contents[i+1]) }) // they wait until the daemon is back
	<-restarted
	d.assertStored(t, "given", contents, false)
	if received := contentsOf(events.messages(50)); !slices.Equal(slices.Sorted(slices.Values(received)), slices.Sorted(slices.Values(contents[1:]))) {
		t.Fatal(received)
	}
	if err := room.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = room.Send(t.Context(), "given", "x")
	assertError(t, err, codes.Canceled, mailroom.ErrClientClosed, "")
	response, err := pb.NewMailboxServiceClient(conn).CheckInbox(t.Context(), &pb.CheckInboxRequest{Agent: "given"})
	if err != nil || proto.Size(response) == 0 {
		t.Fatal("the connection is the program's, and stays open:", err)
	}
}
