package mailroom_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"google.golang.org/grpc"

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
