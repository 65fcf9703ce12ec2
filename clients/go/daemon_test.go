package mailroom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

// bound is the time for anything that has to happen.
const bound = 5 * time.Minute

// program returns a program of the daemon's environment: MAILROOMD names the daemon, the others are beside it.
func program(t testing.TB, name string) string {
	t.Helper()
	daemon := os.Getenv("MAILROOMD")
	if daemon == "" {
		daemon = filepath.Join("..", "..", ".venv", "bin", "mailroomd")
	}
	path, err := filepath.Abs(filepath.Join(filepath.Dir(daemon), name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is missing (%v): run make setup in the project's root, or name mailroomd in MAILROOMD", name, err)
	}
	return path
}

// waitUntil waits for a condition.
func waitUntil(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s", bound, what)
		}
	}
}

// cleanEnvironment returns the environment without variables that lead to other daemons, and further variables.
func cleanEnvironment(more ...string) []string {
	environment := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "MAILROOM_") || strings.HasPrefix(variable, "XDG_") || strings.HasPrefix(variable, "HOME=")
	})
	return append(environment, more...)
}

// A daemon is a real mailroomd in a scratch directory of its own, over all its starts.
type daemon struct {
	t         testing.TB
	directory string
	address   string
	flags     []string

	mutex   sync.Mutex
	process *exec.Cmd
}

// newDaemon makes the directory of a daemon, which is removed after the test. Its name is short, because a socket's path is.
func newDaemon(t testing.TB, flags ...string) *daemon {
	t.Helper()
	directory, err := os.MkdirTemp("/tmp", "mrg ")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, directory: directory, address: "unix:" + directory + "/m.sock", flags: flags}
	t.Cleanup(func() {
		d.stop(syscall.SIGKILL)
		// Its workers end a moment after their supervisor, and may still write.
		waitUntil(t, "the directory of the daemon is removed", func() bool { return os.RemoveAll(directory) == nil })
	})
	return d
}

func (d *daemon) path(name string) string { return filepath.Join(d.directory, name) }

// start starts it, with further flags, and waits until it is ready.
func (d *daemon) start(flags ...string) {
	d.t.Helper()
	flags = append(slices.Clone(d.flags), flags...)
	if !slices.Contains(flags, "--listen") {
		flags = append(flags, "--listen", d.address)
	}
	flags = append([]string{"--root", d.path("root"), "--state-dir", d.path("state"), "--max-restarts", "1000/10"}, flags...)
	log, err := os.OpenFile(d.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	var announced lockedBuffer
	process := exec.Command(program(d.t, "mailroomd"), flags...)
	process.Env = cleanEnvironment("HOME=" + d.directory)
	process.Stdout, process.Stderr = &announced, log
	if err := process.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	d.mutex.Lock()
	d.process = process
	d.mutex.Unlock()
	waitUntil(d.t, "the daemon announces that it is ready", func() bool {
		select {
		case <-ended:
			text, _ := os.ReadFile(d.path("log"))
			d.t.Fatalf("the daemon ended:\n%s", text)
		default:
		}
		return strings.Contains(announced.String(), " is ready: ")
	})
}

// stop ends the supervisor by a signal, and with it all; it returns when the supervisor is gone.
func (d *daemon) stop(signal syscall.Signal) {
	d.mutex.Lock()
	process := d.process
	d.process = nil
	d.mutex.Unlock()
	if process == nil {
		return
	}
	_ = process.Process.Signal(signal)
	waitUntil(d.t, "the daemon has ended", func() bool { return errors.Is(process.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) })
}

// room returns a client of this daemon, which is closed after the test; patient, since a start may take long on a busy machine.
func (d *daemon) room(t testing.TB, options ...mailroom.Option) *mailroom.Client {
	t.Helper()
	all := []mailroom.Option{
		mailroom.WithAddress(d.address), mailroom.WithSender("tester"), mailroom.WithGrace(bound), mailroom.WithTimeout(bound),
	}
	return open(t, append(all, options...)...)
}

// open returns a client that is closed after the test.
func open(t testing.TB, options ...mailroom.Option) *mailroom.Client {
	t.Helper()
	room, err := mailroom.Open(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = room.Close() })
	return room
}

// worker returns a worker of the daemon.
func (d *daemon) worker(t testing.TB, name string) mailroom.Worker {
	t.Helper()
	status, err := d.room(t).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, worker := range status.Workers {
		if worker.Name == name {
			return worker
		}
	}
	t.Fatalf("there is no worker %s", name)
	return mailroom.Worker{}
}

// killWorker kills a worker by SIGKILL; it returns when the successor runs.
func (d *daemon) killWorker(t testing.TB, name string) {
	t.Helper()
	before := d.worker(t, name)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, name+" runs again", func() bool {
		now := d.worker(t, name)
		return now.PID != before.PID && now.State == "running"
	})
}

// stopWorker stops a worker by SIGSTOP until the function is called that it returns.
func (d *daemon) stopWorker(t testing.TB, name string) (resume func()) {
	t.Helper()
	worker := d.worker(t, name)
	if err := syscall.Kill(worker.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Kill(worker.PID, syscall.SIGCONT) }
}

// assertStored says that an agent's messages in the database, and its inbox files, have exactly these contents, in this order if it is
// told.
func (d *daemon) assertStored(t testing.TB, agent string, contents []string, inOrder bool) {
	t.Helper()
	messages, err := mailroom.Collect(d.room(t).List(context.Background(), agent, mailroom.PageSize(1000)))
	if err != nil {
		t.Fatal(err)
	}
	var stored []string
	for _, message := range slices.Backward(messages) {
		stored = append(stored, message.Content)
	}
	assertSame(t, "the database", stored, contents, inOrder)
	files, err := filepath.Glob(filepath.Join(d.path("root"), "inbox", agent, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var filed []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var message struct{ Content string }
		if err := json.Unmarshal(text, &message); err != nil {
			t.Fatal(err)
		}
		filed = append(filed, message.Content)
	}
	assertSame(t, "the inbox", filed, contents, inOrder)
}

func assertSame(t testing.TB, where string, found, wanted []string, inOrder bool) {
	t.Helper()
	if !inOrder {
		found, wanted = slices.Sorted(slices.Values(found)), slices.Sorted(slices.Values(wanted))
	}
	if !slices.Equal(found, wanted) {
		t.Fatalf("%s has %d messages instead of %d: %.300q instead of %.300q", where, len(found), len(wanted), found, wanted)
	}
}

// assertError says that an error has a code, a reason and a field.
func assertError(t testing.TB, err error, code fmt.Stringer, reason mailroom.Reason, field string) *mailroom.Error {
	t.Helper()
	var failure *mailroom.Error
	if !errors.As(err, &failure) {
		t.Fatalf("%v is not a mailroom.Error", err)
	}
	if failure.Code.String() != code.String() || failure.Reason != reason || failure.Field != field {
		t.Fatalf("%v %s %q instead of %v %s %q: %v", failure.Code, failure.Reason, failure.Field, code, reason, field, err)
	}
	if reason != "" && !errors.Is(err, reason) {
		t.Fatalf("errors.Is(%v, %s) is false", err, reason)
	}
	return failure
}

// contentsOf returns the contents of messages.
func contentsOf(messages []*mailroom.Message) []string {
	var contents []string
	for _, message := range messages {
		contents = append(contents, message.Content)
	}
	return contents
}

// lockedBuffer takes the output of a process while the test reads it.
type lockedBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

// Daemons that several tests share, because a start takes long. TestMain ends them.
var (
	peaceful = &sharedDaemon{}                                                                // is neither stopped nor killed
	victim   = &sharedDaemon{}                                                                // is stopped and killed, and runs again after each test
	strict   = &sharedDaemon{flags: []string{"--max-unread", "200", "--client-streams", "1"}} // has narrow limits
)

// A sharedDaemon is started by the first test that needs it.
type sharedDaemon struct {
	flags  []string
	daemon *daemon
	owner  mainOwner
}

func (s *sharedDaemon) get(t testing.TB) *daemon {
	t.Helper()
	if s.daemon == nil {
		s.daemon = newDaemon(&s.owner, s.flags...)
	}
	s.daemon.t = t
	if s.daemon.process == nil {
		s.daemon.start()
	}
	return s.daemon
}

// shared returns the daemon of tests that leave it in peace.
func shared(t testing.TB) *daemon {
	t.Helper()
	return peaceful.get(t)
}

// mainOwner stands for a test that lasts as long as the test program.
type mainOwner struct {
	testing.TB
	cleanups []func()
}

func (*mainOwner) Helper() {}

func (o *mainOwner) Cleanup(cleanup func()) { o.cleanups = append(o.cleanups, cleanup) }

func (*mainOwner) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (*mainOwner) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func TestMain(m *testing.M) {
	code := m.Run()
	for _, one := range []*sharedDaemon{peaceful, victim, strict} {
		for _, cleanup := range slices.Backward(one.owner.cleanups) {
			cleanup()
		}
	}
	os.Exit(code)
}
