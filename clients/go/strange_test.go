package mailroom_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mailroom-daemon/mailroom/clients/go"
	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

type (
	sends    = grpc.BidiStreamingServer[pb.SendMessagesRequest, pb.SendMessagesResponse]
	messages = grpc.ServerStreamingServer[pb.SubscribeResponse]
)

// A strangeDaemon answers as a newer daemon, a broken one or a proxy might.
type strangeDaemon struct {
	pb.UnimplementedMailboxServiceServer
	address     string
	sendMessage func(context.Context, *pb.SendMessageRequest) (*pb.SendMessageResponse, error)
	sendAll     func(sends) error
	checkInbox  func() (*pb.CheckInboxResponse, error)
	subscribe   func(*pb.SubscribeRequest, messages) error
}

func (d *strangeDaemon) SendMessage(ctx context.Context, request *pb.SendMessageRequest) (*pb.SendMessageResponse, error) {
	if d.sendMessage == nil {
		return d.UnimplementedMailboxServiceServer.SendMessage(ctx, request)
	}
	return d.sendMessage(ctx, request)
}

func (d *strangeDaemon) SendMessages(stream sends) error {
	if d.sendAll == nil {
		return d.UnimplementedMailboxServiceServer.SendMessages(stream)
	}
	return d.sendAll(stream)
}

func (d *strangeDaemon) CheckInbox(context.Context, *pb.CheckInboxRequest) (*pb.CheckInboxResponse, error) {
	return d.checkInbox()
}

func (d *strangeDaemon) Subscribe(request *pb.SubscribeRequest, stream messages) error {
	return d.subscribe(request, stream)
}

// start serves on a socket, and returns a client.
func (d *strangeDaemon) start(t *testing.T, options ...mailroom.Option) *mailroom.Client {
	t.Helper()
	directory, err := os.MkdirTemp("/tmp", "mrs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	d.address = "unix:" + filepath.Join(directory, "m.sock")
	listener, err := net.Listen("unix", filepath.Join(directory, "m.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterMailboxServiceServer(server, d)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return open(t, append([]mailroom.Option{mailroom.WithAddress(d.address), mailroom.WithSender("tester")}, options...)...)
}

func place(number int) string { return fmt.Sprintf("%016x", number) }

func messageEvent(number int) *pb.SubscribeResponse {
	message := &pb.Message{Id: place(number), Content: strconv.Itoa(number), Priority: 99, State: 77}
	return &pb.SubscribeResponse{EventId: place(number), Event: &pb.SubscribeResponse_Message{Message: message}}
}

func caughtUpEvent(number int) *pb.SubscribeResponse {
	caughtUp := &pb.SubscribeResponse_CaughtUp{CaughtUp: &pb.CaughtUp{LastId: place(number)}}
	return &pb.SubscribeResponse{EventId: place(number), Event: caughtUp}
}

func goingAwayEvent(number int) *pb.SubscribeResponse {
	goingAway := &pb.SubscribeResponse_GoingAway{GoingAway: &pb.GoingAway{LastId: place(number)}}
	return &pb.SubscribeResponse{EventId: place(number), Event: goingAway}
}

// unknownEvent is of a kind that the contract does not have (field 99).
func unknownEvent(number int) *pb.SubscribeResponse {
	event := &pb.SubscribeResponse{EventId: place(number)}
	event.ProtoReflect().SetUnknown([]byte{0x9a, 0x06, 0x03, 0x0a, 0x01, 0x78})
	return event
}

// playStreams lets each stream after the other bring these responses and end; the last one stays open. It reads until a message has
// the last number, and returns what was yielded and from where each stream started.
func playStreams(t *testing.T, streams [][]*pb.SubscribeResponse, last string, options ...mailroom.SubscribeOption) (events, places []string) {
	t.Helper()
	var requests []*pb.SubscribeRequest
	d := &strangeDaemon{subscribe: func(request *pb.SubscribeRequest, stream messages) error {
		requests = append(requests, request)
		for _, response := range streams[len(requests)-1] {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
		if len(requests) == len(streams) {
			<-stream.Context().Done()
		}
		return nil // as a daemon that stops: with OK
	}}
	for event, err := range d.start(t).Subscribe(t.Context(), "a", options...) {
		if err != nil {
			t.Fatal(err)
		}
		message, isMessage := event.(*mailroom.Message)
		if !isMessage {
			events = append(events, "caught up")
			continue
		}
		if message.Priority.String() != "priority 99" || message.State != 77 {
			t.Fatalf("%+v", message)
		}
		if events = append(events, message.Content); message.Content == last {
			break
		}
	}
	for _, request := range requests {
		if request.GetMaxBatch() < 2 {
			t.Fatalf("%v", request)
		}
		places = append(places, request.GetAfterId())
	}
	return events, places
}

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

func sentResult(id string) *pb.SendResult {
	return &pb.SendResult{Result: &pb.SendResult_Ok{Ok: &pb.SendMessageResponse{Message: &pb.Message{Id: id}}}}
}

func TestSendsThatGatherTravelTogether(t *testing.T) {
	answers := make(chan struct{})
	sizes := make(chan int, 10)
	var streams, alone atomic.Int32
	d := &strangeDaemon{
		sendMessage: func(ctx context.Context, _ *pb.SendMessageRequest) (*pb.SendMessageResponse, error) {
			alone.Add(1)
			<-answers
			return &pb.SendMessageResponse{}, nil
		},
		sendAll: func(stream sends) error {
			streams.Add(1)
			for {
				request, err := stream.Recv()
				if err != nil {
					return nil
				}
				sizes <- len(request.GetMessages())
				<-answers
				response := &pb.SendMessagesResponse{}
				for range request.GetMessages() {
					response.Results = append(response.Results, sentResult("1"))
				}
				if err := stream.Send(response); err != nil {
					return err
				}
			}
		},
	}
	room := d.start(t)
	var group sync.WaitGroup
	start := func(count int) {
		for range count {
			group.Go(func() { send(t, room, "a", "x") })
		}
		time.Sleep(100 * time.Millisecond) // they gather, whatever happens; the total of the sizes is checked
	}
	start(1)
	waitUntil(t, "a lone send has arrived", func() bool { return alone.Load() == 1 })
	start(1)
	found := []int{<-sizes}
	start(7)
	close(answers)
	group.Wait()
	for len(sizes) > 0 {
		found = append(found, <-sizes)
	}
	total := 0
	for _, size := range found {
		total += size
	}
	if alone.Load() != 1 || streams.Load() != 1 || found[0] != 1 || total != 8 || len(found) > 3 {
		t.Fatal(alone.Load(), streams.Load(), found)
	}
}

func TestAStreamThatStandsStillIsLeftInTime(t *testing.T) {
	release := make(chan struct{})
	var alone atomic.Int32
	d := &strangeDaemon{
		sendMessage: func(context.Context, *pb.SendMessageRequest) (*pb.SendMessageResponse, error) {
			if alone.Add(1) == 1 {
				<-release
			}
			return &pb.SendMessageResponse{Message: &pb.Message{Id: "alone"}}, nil
		},
		sendAll: func(stream sends) error {
			<-stream.Context().Done()
			return nil
		},
	}
	room := d.start(t, mailroom.WithTimeout(bound))
	var group sync.WaitGroup
	group.Go(func() { send(t, room, "a", "first") })
	waitUntil(t, "the first send has arrived", func() bool { return alone.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // a quarter is left for a call of its own
	defer cancel()
	if sent, err := room.Send(ctx, "a", "second"); err != nil || sent.Message.ID != "alone" {
		t.Fatal(sent, err)
	}
	close(release)
	group.Wait()
}

func TestAResponseWithoutAResultIsAnError(t *testing.T) {
	release := make(chan struct{})
	var alone atomic.Int32
	d := &strangeDaemon{
		sendMessage: func(context.Context, *pb.SendMessageRequest) (*pb.SendMessageResponse, error) {
			alone.Add(1)
			<-release
			return &pb.SendMessageResponse{}, nil
		},
		sendAll: func(stream sends) error {
			for {
				if _, err := stream.Recv(); err != nil {
					return nil
				}
				if err := stream.Send(&pb.SendMessagesResponse{}); err != nil {
					return err
				}
			}
		},
	}
	room := d.start(t)
	var group sync.WaitGroup
	group.Go(func() { send(t, room, "a", "first") })
	waitUntil(t, "the first send has arrived", func() bool { return alone.Load() == 1 })
	_, err := room.Send(t.Context(), "a", "second")
	assertError(t, err, codes.Internal, "", "")
	close(release)
	group.Wait()
}

func TestHeadersOfTheProgramTravelWithTheirOwnSend(t *testing.T) {
	var withHeader, without atomic.Int32
	d := &strangeDaemon{
		sendMessage: func(ctx context.Context, request *pb.SendMessageRequest) (*pb.SendMessageResponse, error) {
			header, _ := metadata.FromIncomingContext(ctx)
			if slices.Equal(header.Get("trace"), []string{request.GetContent()}) {
				withHeader.Add(1)
			} else {
				without.Add(1)
			}
			return &pb.SendMessageResponse{}, nil
		},
	}
	room := d.start(t)
	concurrently(20, func(i int) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "trace", strconv.Itoa(i))
		if _, err := room.Send(ctx, "a", strconv.Itoa(i)); err != nil {
			t.Error(err)
		}
	})
	if withHeader.Load() != 20 || without.Load() != 0 {
		t.Fatal(withHeader.Load(), without.Load())
	}
}

func TestSendsArriveOverStreamsThatBreakAtRandomMoments(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("MAILROOM_TEST_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("MAILROOM_TEST_SEED=%d", seed)
	var mutex sync.Mutex
	chances := rand.New(rand.NewPCG(seed, 0))
	chance := func(part float64) bool {
		mutex.Lock()
		defer mutex.Unlock()
		return chances.Float64() < part
	}
	stored := map[string]string{}
	store := func(request *pb.SendMessageRequest) {
		mutex.Lock()
		defer mutex.Unlock()
		if content, isKnown := stored[request.GetIdempotencyKey()]; isKnown && content != request.GetContent() {
			t.Errorf("the key of %s is that of %s", request.GetContent(), content)
		}
		stored[request.GetIdempotencyKey()] = request.GetContent()
	}
	var streams atomic.Int32
	d := &strangeDaemon{
		sendMessage: func(_ context.Context, request *pb.SendMessageRequest) (*pb.SendMessageResponse, error) {
			store(request)
			if chance(0.2) {
				return nil, status.Error(codes.Unavailable, "killed after")
			}
			return sentResult(request.GetContent()).GetOk(), nil
		},
		sendAll: func(stream sends) error {
			streams.Add(1)
			for {
				request, err := stream.Recv()
				if err != nil || chance(0.1) {
					return status.Error(codes.Unavailable, "killed before")
				}
				response := &pb.SendMessagesResponse{}
				for _, message := range request.GetMessages() {
					store(message)
					response.Results = append(response.Results, sentResult(message.GetContent()))
				}
				if chance(0.1) {
					return status.Error(codes.Unavailable, "killed after")
				}
				if chance(0.05) {
					return nil
				}
				if err := stream.Send(response); err != nil {
					return err
				}
			}
		},
	}
	room := d.start(t, mailroom.WithGrace(bound))
	var next, canceled atomic.Int32
	concurrently(20, func(int) {
		for number := next.Add(1); number <= 600; number = next.Add(1) {
			ctx, cancel := context.WithCancel(t.Context())
			if chance(0.1) {
				time.AfterFunc(time.Duration(number%5)*time.Millisecond, cancel)
			}
			sent, err := room.Send(ctx, "a", strconv.Itoa(int(number)))
			cancel()
			switch {
			case errors.Is(err, context.Canceled):
				canceled.Add(1)
			case err != nil:
				t.Error(err)
			case sent.Message.ID != strconv.Itoa(int(number)):
				t.Errorf("%d got the result of %s", number, sent.Message.ID)
			}
		}
	})
	contents := map[string]int{}
	for _, content := range stored {
		contents[content]++
	}
	if len(contents) != len(stored) || len(contents) < 600-int(canceled.Load()) || streams.Load() < 2 {
		t.Fatal(len(contents), len(stored), canceled.Load(), streams.Load())
	}
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
