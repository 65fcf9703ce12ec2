package mailroom_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mailroom-daemon/mailroom/clients/go"
	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

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
