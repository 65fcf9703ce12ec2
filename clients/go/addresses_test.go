package mailroom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// findInPython prints what the Python client finds in each case: the address and the places that it tried, or the error.
const findInPython = `
import json, os, sys
from mailroom.addresses import find_daemon
from mailroom.errors import MailroomError

def lines(explicit, environment):
    os.environ.clear()
    os.environ.update(environment)
    try:
        found = find_daemon(explicit or None)
        return [found.text, *found.tried]
    except MailroomError as error:
        return [error.reason, error.field or "", error.message]

json.dump([lines(*case) for case in json.load(sys.stdin)], sys.stdout)`

func TestDiscoveryFindsWhatThePythonClientFinds(t *testing.T) {
	directory, err := os.MkdirTemp("/tmp", "mrd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	daemon := os.Getenv("MAILROOMD")
	if daemon == "" {
		daemon = filepath.Join("..", "..", ".venv", "bin", "mailroomd")
	}
	program, err := filepath.Abs(filepath.Join(filepath.Dir(daemon), "python"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(directory)
	cases := discoveryCases(t, directory)
	var arguments []any
	for _, one := range cases {
		arguments = append(arguments, []any{one.explicit, one.environment})
	}
	input, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	python := exec.Command(program, "-c", findInPython)
	python.Stdin, python.Stderr = bytes.NewReader(input), os.Stderr
	output, err := python.Output()
	var wanted [][]string
	if err == nil {
		err = json.Unmarshal(output, &wanted)
	}
	if err != nil || len(wanted) != len(cases) {
		t.Fatal("Python: ", err)
	}
	for i, one := range cases {
		found := strings.Join(one.find(), "\n")
		// Python and Go quote differently.
		if expected := strings.ReplaceAll(strings.Join(wanted[i], "\n"), "'", `"`); strings.ReplaceAll(found, "'", `"`) != expected {
			t.Errorf("%s: %s\ninstead of\n%s", one.name, found, expected)
		}
	}
}

type discoveryCase struct {
	name, explicit string
	environment    map[string]string
}

// find returns what this client finds.
func (d discoveryCase) find() []string {
	found, err := findDaemon(d.explicit, func(name string) (string, bool) {
		value, isSet := d.environment[name]
		return value, isSet
	})
	if failure := (*Error)(nil); errors.As(err, &failure) {
		return []string{string(failure.Reason), failure.Field, failure.Message}
	}
	return append([]string{found.text}, found.tried...)
}

func discoveryCases(t *testing.T, directory string) []discoveryCase {
	t.Helper()
	for _, name := range []string{"empty", "run/mailroom", "state/mailroom", "stale/mailroom", "file", "tcp", "bad", "own"} {
		if err := os.MkdirAll(filepath.Join(directory, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	listen(t, directory+"/run/mailroom/mailroom.sock", true)
	listen(t, directory+"/state/mailroom/mailroom.sock", true)
	listen(t, directory+"/stale/mailroom/mailroom.sock", false)
	listen(t, directory+"/elsewhere.sock", true)
	listen(t, directory+"/own/mailroom.sock", true)
	files := map[string]string{
		"file/addresses": fmt.Sprintf(`["127.0.0.1:50051", 7, "unix:%[1]s/gone.sock", "unix:%[1]s/elsewhere.sock"]`, directory),
		"tcp/addresses":  `["127.0.0.1:50051", "[::1]:50052"]`,
		"bad/addresses":  `7`,
		"own/addresses":  `[]`,
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	home, run := "HOME="+directory+"/empty", "XDG_RUNTIME_DIR="+directory+"/run"
	stateHome := func(name string) string { return "XDG_STATE_HOME=" + directory + "/" + name }
	stateDir := func(name string) string { return "MAILROOM_STATE_DIR=" + directory + "/" + name }
	with := func(variables ...string) map[string]string {
		environment := map[string]string{}
		for _, variable := range variables {
			name, value, _ := strings.Cut(variable, "=")
			environment[name] = value
		}
		return environment
	}
	cases := []discoveryCase{
		{"the socket of the session comes first", "", with(home, run, stateHome("state"))},
		{"a state directory of its own excludes it", "", with(home, run, stateDir("file"))},
		{"the socket of the state directory", "", with(home, stateHome("state"))},
		{"a stale socket of the session", "", with(home, "XDG_RUNTIME_DIR="+directory+"/stale", stateHome("state"))},
		{"only a stale socket", "", with(home, "XDG_RUNTIME_DIR="+directory+"/stale", stateHome("empty"))},
		{"the addresses that the daemon wrote, sockets first", "", with(home, stateDir("file"))},
		{"addresses of TCP", "", with(home, stateDir("tcp"))},
		{"a file that is no list", "", with(home, stateDir("bad"))},
		{"an empty list", "", with(home, stateDir("own"))},
		{"nothing at all", "", with(home)},
		{"empty variables", "", with(home, "MAILROOM_ADDRESS=", "MAILROOM_STATE_DIR=", "XDG_RUNTIME_DIR=", "XDG_STATE_HOME=")},
		{"relative directories do not count", "", with(home, "XDG_RUNTIME_DIR=run", "XDG_STATE_HOME=state")},
		{"a relative state directory", "", with(home, "MAILROOM_STATE_DIR=own/../file")},
		{"the home directory of the state", "", with("HOME="+directory, "MAILROOM_STATE_DIR=~/own")},
		{"a home directory that nobody has", "", with(home, "MAILROOM_STATE_DIR=~nobody-has-this-name/x")},
		{"a state directory too deep for a socket", "", with(home, "MAILROOM_STATE_DIR=/"+strings.Repeat("x", 107))},
		{"MAILROOM_ADDRESS", "", with(home, run, "MAILROOM_ADDRESS=[::1]:50051")},
		{"a wrong MAILROOM_ADDRESS", "", with(home, run, "MAILROOM_ADDRESS=nonsense")},
	}
	for _, explicit := range []string{
		"unix:///run/m.sock", "unix:relative.sock", "/run/../m.sock", "//m.sock", "~/m.sock", "unix:~/m.sock", "host:1", "[::1]:99999", "host",
		"host:", "http://host:1", "unix:", "host:port", "a b:1", "host:123456", "/" + strings.Repeat("x", 107), "~nobody-has-this-name/m.sock",
	} {
		cases = append(cases, discoveryCase{"given " + explicit, explicit, with(home, run)})
	}
	return cases
}

// listen makes a socket on which the test listens until its end, or a stale one.
func listen(t *testing.T, path string, isLive bool) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrUnix{Name: path})
	}
	if err == nil && isLive {
		err = syscall.Listen(socket, 100)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
}
