// agent counts the words of each message that it gets, and answers.
//
//	go run ./examples/agent counter
//	mailroom send counter 'how many words are these' --from me    # in another terminal; then: mailroom inbox me
//
// It begins with what is unread, survives restarts of the daemon, and ends in order on Ctrl-C. A message is marked read only once its
// answer is durable, and the answer has the message's id in its key. So if the agent is killed in between, its successor answers
// the message again, and that is still one answer.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

func main() {
	name := "counter"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	log.SetFlags(0)
	log.SetPrefix(name + ": ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, name); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string) error {
	room, err := mailroom.Open(mailroom.WithSender(name))
	if err != nil {
		return err
	}
	defer room.Close()
	reconnecting := mailroom.OnInterrupted(func(err error) { log.Printf("reconnecting: %v", err) })
	for event, err := range room.Subscribe(ctx, name, mailroom.Unread(), reconnecting) {
		if err != nil {
			return err
		}
		switch event := event.(type) {
		case mailroom.CaughtUp:
			log.Print("waiting for messages")
		case *mailroom.Message:
			if event.Sender != name {
				answer(ctx, room, event)
			}
		}
	}
	return nil
}

func answer(ctx context.Context, room *mailroom.Client, message *mailroom.Message) {
	words := fmt.Sprintf("%d words", len(strings.Fields(message.Content)))
	_, err := room.Reply(ctx, message, words, mailroom.Key("answer-to-"+message.ID), mailroom.AndAcknowledge())
	if err != nil {
		log.Printf("no answer to %s: %v", message.ID, err)
		return
	}
	log.Printf("%s sent %s", message.Sender, words)
}
