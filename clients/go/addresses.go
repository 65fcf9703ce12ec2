package mailroom

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	socketName         = "mailroom.sock"
	addressesName      = "addresses" // a JSON list of "unix:PATH" and "HOST:PORT", written by the daemon
	maxSocketPathBytes = 107         // sockaddr_un.sun_path without its final NUL (unix(7))
	probeTime          = time.Second // a connection to a socket is made, or refused, at once
)

var hostAndPort = regexp.MustCompile(`\A(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}\z`)

// environment looks up a variable, as os.LookupEnv does.
type environment func(name string) (string, bool)

func (e environment) get(name string) string {
	value, _ := e(name)
	return value
}

// An address is one place to connect to.
type address struct {
	text  string   // unix:PATH or HOST:PORT
	tried []string // each place that was tried, with what was wrong there, for error messages
}

// socketPath returns the path of a Unix socket, "" for TCP.
func (a address) socketPath() string {
	path, isSocket := strings.CutPrefix(a.text, "unix:")
	if !isSocket {
		return ""
	}
	return path
}

// target returns the address for gRPC: a URI, in which special characters of a path are percent-encoded.
func (a address) target() string {
	if path := a.socketPath(); path != "" {
		return (&url.URL{Scheme: "unix", Path: path}).String()
	}
	return "passthrough:///" + a.text // net.Dialer resolves names at each connection
}

func (a address) isLoopback() bool {
	host, _, err := net.SplitHostPort(a.text)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// findDaemon locates the daemon: the program's address, MAILROOM_ADDRESS, the socket in XDG_RUNTIME_DIR, the daemon's addresses
// file, the socket in the state directory. MAILROOM_STATE_DIR selects one daemon, so only that directory is searched. A
// socket counts only if a process listens on it: a stale socket must not hide a running daemon. If there is no
// daemon, it returns the address where one would most likely appear.
func findDaemon(explicit string, env environment) (address, error) {
	if explicit != "" {
		text, err := normalized(explicit, "address", env)
		return address{text: text}, err
	}
	if given := env.get("MAILROOM_ADDRESS"); given != "" {
		text, err := normalized(given, "MAILROOM_ADDRESS", env)
		return address{text: text, tried: []string{"MAILROOM_ADDRESS"}}, err
	}
	return searchDaemon(env)
}

func searchDaemon(env environment) (address, error) {
	stateDir, err := stateDirectory(env)
	if err != nil {
		return address{}, err
	}
	found := search{env: env}
	runtimeDir := env.get("XDG_RUNTIME_DIR")
	if env.get("MAILROOM_STATE_DIR") == "" && strings.HasPrefix(runtimeDir, "/") {
		found.trySocket(filepath.Join(runtimeDir, "mailroom", socketName))
	}
	ownSocket := filepath.Join(stateDir, socketName)
	if found.live == "" {
		found.tryAddressFile(filepath.Join(stateDir, addressesName))
	}
	if found.live == "" {
		found.trySocket(ownSocket)
	}
	switch {
	case found.live != "":
		return address{found.live, found.tried}, nil
	case len(found.stale) > 0:
		return address{found.stale[0], found.tried}, nil
	}
	text, err := normalized("unix:"+ownSocket, "the state directory's socket", env)
	return address{text, found.tried}, err
}

// A search remembers what it has met.
type search struct {
	env   environment
	live  string   // the first address at which a process listens
	stale []string // where a daemon listened before, and will most likely listen again
	tried []string
}

func (s *search) trySocket(path string) {
	err := connectError(path)
	s.tried = append(s.tried, withError(path, err))
	switch {
	case err == nil:
		s.live = "unix:" + path
	case errors.Is(err, syscall.ECONNREFUSED):
		s.stale = append(s.stale, "unix:"+path)
	}
}

func (s *search) tryAddressFile(file string) {
	texts, err := s.readAddressFile(file)
	if err != nil {
		s.tried = append(s.tried, withError(file, err))
		return
	}
	var live, summaries []string
	for _, text := range texts {
		var err error
		if path := (address{text: text}).socketPath(); path != "" {
			err = connectError(path)
		}
		if err == nil {
			live = append(live, text)
			summaries = append(summaries, text)
		} else {
			summaries = append(summaries, fmt.Sprintf("%s: %s", text, errorText(err)))
		}
	}
	if len(texts) == 0 {
		summaries = []string{"empty"}
	}
	s.tried = append(s.tried, fmt.Sprintf("%s (%s)", file, strings.Join(summaries, ", ")))
	s.stale = append(s.stale, texts...)
	if len(live) > 0 {
		s.live = live[max(0, slices.IndexFunc(live, func(text string) bool { return strings.HasPrefix(text, "unix:") }))]
	}
}

func (s *search) readAddressFile(file string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	errContent := errors.New("not a JSON list of addresses")
	var items []any
	if json.Unmarshal(content, &items) != nil {
		return nil, errContent
	}
	var texts []string
	for _, item := range items {
		if text, isText := item.(string); isText {
			if text, err = normalized(text, file, s.env); err != nil {
				return nil, errContent
			}
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// connectError returns why no process can be reached on a Unix socket.
func connectError(path string) error {
	connection, err := net.DialTimeout("unix", path, probeTime)
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) { // a process listens, but its backlog is full
			return nil
		}
		return err
	}
	_ = connection.Close()
	return nil
}

func withError(place string, err error) string {
	if err == nil {
		return place
	}
	return fmt.Sprintf("%s (%s)", place, errorText(err))
}

// errorText returns what is wrong, without the operation and the path that Go puts before it.
func errorText(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

// stateDirectory returns MAILROOM_STATE_DIR, or the directory mailroom below XDG_STATE_HOME.
func stateDirectory(env environment) (string, error) {
	if given := env.get("MAILROOM_STATE_DIR"); given != "" {
		path, err := asPath(given, env)
		if err != nil {
			return "", invalid(ErrAddressInvalid, "", "MAILROOM_STATE_DIR: %q is not a valid path: %v", given, err)
		}
		return path, nil
	}
	if base := env.get("XDG_STATE_HOME"); strings.HasPrefix(base, "/") {
		return filepath.Join(base, "mailroom"), nil
	}
	home, err := expandHome("~", env)
	if err != nil {
		return "", invalid(ErrAddressInvalid, "address", "there is no home directory to look for the daemon in: "+
			"set MAILROOM_ADDRESS, MAILROOM_STATE_DIR or HOME")
	}
	return filepath.Join(home, ".local", "state", "mailroom"), nil
}

// normalized returns a given address as unix:PATH, with an absolute path, or HOST:PORT.
func normalized(text, source string, env environment) (string, error) {
	detail := ""
	path, isSocket := strings.CutPrefix(text, "unix:")
	switch {
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"):
		path = text
	case !isSocket:
		path = ""
	}
	if path != "" {
		absolute, err := asPath(path, env)
		if err == nil {
			err = checkLength(absolute)
		}
		if err == nil {
			return "unix:" + absolute, nil
		}
		detail = fmt.Sprintf(" (%v)", err)
	} else if hostAndPort.MatchString(text) {
		return text, nil
	}
	return "", invalid(ErrAddressInvalid, "address", "%s: %q is not a valid address%s; use unix:PATH or HOST:PORT", source, text, detail)
}

func checkLength(path string) error {
	if len(path) > maxSocketPathBytes {
		return fmt.Errorf("the path has %d bytes, a socket's path at most %d", len(path), maxSocketPathBytes)
	}
	return nil
}

// asPath interprets a path as the daemon does: ~ is the home directory; a relative path starts at the current one.
func asPath(text string, env environment) (string, error) {
	if strings.Contains(text, "\x00") {
		return "", errors.New("a path cannot contain NUL")
	}
	expanded, err := expandHome(text, env)
	if err != nil {
		return "", err
	}
	return filepath.Abs(expanded)
}

// expandHome replaces a leading ~ or ~name.
func expandHome(path string, env environment) (string, error) {
	if !strings.HasPrefix(path, "~") {
		return path, nil
	}
	name, rest, _ := strings.Cut(path[1:], "/")
	home, isSet := env("HOME")
	if name != "" || !isSet {
		found, err := lookUp(name)
		if err != nil {
			return "", errors.New("no such home directory")
		}
		home = found.HomeDir
	}
	return filepath.Join("/", home, rest), nil
}

func lookUp(name string) (*user.User, error) {
	if name == "" {
		return user.Current()
	}
	return user.Lookup(name)
}
