package mailroom_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

// build compiles a program of this module, and returns its path.
func build(t *testing.T, source string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if output, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", source, err, output)
	}
	return binary
}

// firstProgram returns the first Go program of a page.
func firstProgram(t *testing.T, page string) string {
	t.Helper()
	match := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindStringSubmatch(textOf(t, page))
	if match == nil {
		t.Fatalf("%s has no program", page)
	}
	directory, err := os.MkdirTemp(".", "program_") // inside the module, whose dependencies it needs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	source := filepath.Join(directory, "main.go")
	if err := os.WriteFile(source, []byte(match[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	return source
}

func TestTheProgramOfTheReadmeWorks(t *testing.T) {
	d := shared(t)
	command := exec.Command(build(t, firstProgram(t, "README.md")))
	command.Env = cleanEnvironment("HOME="+d.directory, "MAILROOM_STATE_DIR="+d.path("state"))
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{16} filed\ndashboard go\n$`).Match(output) {
		t.Fatalf("%v\n%s", err, output)
	}
}

func TestTheExampleAgentAnswersAndEndsInOrder(t *testing.T) {
	d := shared(t)
	room := d.room(t, mailroom.WithSender("asking"))
	var log lockedBuffer
	agent := exec.Command(build(t, "./examples/agent"), "words")
	agent.Env = cleanEnvironment("HOME="+d.directory, "MAILROOM_STATE_DIR="+d.path("state"))
	agent.Stderr = &log
	question := send(t, room, "words", "how many words are these").Message
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	t.Cleanup(func() { _ = agent.Process.Kill() })
	inbox, err := room.CheckInbox(t.Context(), "asking", mailroom.Wait(bound))
	if err != nil || len(inbox.Messages) != 1 {
		t.Fatal(inbox, err, log.String())
	}
	if answer := inbox.Messages[0]; answer.Content != "5 words" || answer.Sender != "words" || answer.InReplyTo != question.ID {
		t.Fatalf("%+v", answer)
	}
	waitUntil(t, "the question is marked read", func() bool { return get(t, room, question.ID).Message.Read })
	waitUntil(t, "the agent has said so", func() bool { return strings.Contains(log.String(), "asking sent 5 words") })
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err, log.String())
	}
}
