package mailroom_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

// freePort returns a port that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

// An authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, file string) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return authority{}.issue(t, template, file)
}

// issue writes FILE.crt and FILE.key. The empty authority issues a certificate that is signed by its own key.
func (a authority) issue(t testing.TB, template *x509.Certificate, file string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a = authority{template, key}
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		file + ".crt": {Type: "CERTIFICATE", Bytes: certificate},
		file + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issued, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	return authority{issued, key}
}

// createTokens writes the tokens of the agent bob and of an administrator.
func createTokens(t testing.TB, d *daemon) {
	t.Helper()
	create := func(file string, arguments ...string) {
		command := exec.Command(program(t, "mailroom"), append([]string{"token", "create", "--state-dir", d.path("state")}, arguments...)...)
		command.Env = cleanEnvironment("HOME=" + d.directory)
		token, err := command.Output()
		if err == nil {
			err = os.WriteFile(d.path(file), token, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	create("bob.token", "--agent", "bob")
	create("admin.token", "--admin")
}

func textOf(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOverTCPATokenSaysWhoAClientIs(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	d := newDaemon(t, "--listen", address, "--client-rate", "100")
	createTokens(t, d)
	d.start()
	client := func(options ...mailroom.Option) *mailroom.Client {
		common := []mailroom.Option{mailroom.WithAddress(address), mailroom.WithSender("bob"), mailroom.WithGrace(bound), mailroom.WithTimeout(bound)}
		return open(t, append(common, options...)...)
	}
	bob := client(mailroom.WithTokenFile(d.path("bob.token")))

	t.Run("by a file or a text", func(t *testing.T) {
		if message := send(t, bob, "alice", "hello").Message; message.Sender != "bob" || !message.SenderVerified {
			t.Fatalf("%+v", message)
		}
		if _, err := client(mailroom.WithToken(textOf(t, d.path("bob.token")))).CheckInbox(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("without one only the health is known", func(t *testing.T) {
		nobody := client()
		if healthy, err := nobody.Healthy(t.Context()); err != nil || !healthy {
			t.Fatal(healthy, err)
		}
		_, err := nobody.CheckInbox(t.Context(), "bob")
		if failure := assertError(t, err, codes.Unauthenticated, mailroom.ErrTokenMissing, ""); failure.Retryable() {
			t.Fatal("it is retryable")
		}
		_, err = client(mailroom.WithToken("wrong")).Send(t.Context(), "a", "x")
		assertError(t, err, codes.Unauthenticated, mailroom.ErrTokenInvalid, "")
	})
	t.Run("what it does not allow fails alone, also among concurrent sends", func(t *testing.T) {
		concurrently(40, func(i int) {
			if i%4 != 1 {
				send(t, bob, "alice", fmt.Sprint("mixed ", i))
				return
			}
			if _, err := bob.Send(t.Context(), "alice", "x", mailroom.From("alice")); !errors.Is(err, mailroom.ErrNotYours) {
				t.Error(err)
			}
		})
		_, err := bob.Status(t.Context())
		assertError(t, err, codes.PermissionDenied, mailroom.ErrAdminOnly, "")
		if _, err := client(mailroom.WithTokenFile(d.path("admin.token"))).Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("sends that are faster than allowed are slowed down, and none is lost", func(t *testing.T) {
		contents := make([]string, 600) // 500 are allowed at once
		for i := range contents {
			contents[i] = fmt.Sprint("fast ", i)
		}
		ids := make([]string, len(contents))
		concurrently(len(contents), func(i int) { ids[i] = send(t, bob, "slow", contents[i]).Message.ID })
		admin := client(mailroom.WithTokenFile(d.path("admin.token")))
		stored, err := mailroom.Collect(admin.List(t.Context(), "slow", mailroom.PageSize(1000)))
		if err != nil {
			t.Fatal(err)
		}
		assertSame(t, "the database", contentsOf(stored), contents, false)
		slices.Sort(ids)
		if len(slices.Compact(ids)) != len(contents) {
			t.Fatal("two sends have one id")
		}
	})
	t.Run("a subscription lives", func(t *testing.T) {
		events := read(t, bob.Subscribe(t.Context(), "bob"))
		events.caughtUp()
		send(t, bob, "bob", "to myself")
		if message := events.messages(1)[0]; message.Content != "to myself" {
			t.Fatalf("%+v", message)
		}
	})
	t.Run("no proxy is used", func(t *testing.T) {
		proxy, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = proxy.Close() }()
		var connections atomic.Int32
		go func() {
			for {
				connection, err := proxy.Accept()
				if err != nil {
					return
				}
				connections.Add(1)
				_ = connection.Close()
			}
		}()
		for _, name := range []string{"http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
			t.Setenv(name, "http://"+proxy.Addr().String())
		}
		if _, err := client(mailroom.WithTokenFile(d.path("bob.token"))).CheckInbox(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if healthy, err := shared(t).room(t).Healthy(t.Context()); err != nil || !healthy || connections.Load() > 0 {
			t.Fatal(healthy, err, connections.Load())
		}
	})
}

func TestTLSWithAClientCertificate(t *testing.T) {
	address := fmt.Sprintf("localhost:%d", freePort(t))
	d := newDaemon(t)
	ca, other := newAuthority(t, d.path("ca")), newAuthority(t, d.path("other"))
	serial := big.NewInt(2)
	server := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	ca.issue(t, server, d.path("server"))
	user := &x509.Certificate{SerialNumber: serial, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	ca.issue(t, user, d.path("client"))
	other.issue(t, user, d.path("stranger"))
	createTokens(t, d)
	d.start("--listen", address, "--tls-cert", d.path("server.crt"), "--tls-key", d.path("server.key"), "--tls-client-ca", d.path("ca.crt"))
	token := mailroom.WithTokenFile(d.path("bob.token"))
	files := []mailroom.Option{mailroom.WithAddress(address), mailroom.WithSender("bob"), token, mailroom.WithTLS(d.path("ca.crt")),
		mailroom.WithClientCertificate(d.path("client.crt"), d.path("client.key")), mailroom.WithGrace(bound)}
	with := func(more ...mailroom.Option) *mailroom.Client { return open(t, slices.Concat(files, more)...) }

	bob := with()
	events := read(t, bob.Subscribe(t.Context(), "bob"))
	events.caughtUp()
	concurrently(10, func(i int) { send(t, bob, "bob", fmt.Sprint(i)) })
	events.messages(10)

	for name, value := range map[string]string{
		"MAILROOM_ADDRESS": address, "MAILROOM_AGENT": "bob", "MAILROOM_TLS_CA": d.path("ca.crt"), "MAILROOM_TLS_CLIENT_CERT": d.path("client.crt"),
		"MAILROOM_TLS_CLIENT_KEY": d.path("client.key"), "MAILROOM_TOKEN": textOf(t, d.path("bob.token")),
	} {
		t.Setenv(name, value)
	}
	byVariables := open(t, mailroom.WithGrace(bound))
	if sender := send(t, byVariables, "alice", "x").Message.Sender; sender != "bob" || byVariables.Address() != address {
		t.Fatal(sender, byVariables.Address())
	}

	// The daemon's alert may be lost behind the end of the connection; then the client can only guess.
	stranger := with(mailroom.WithGrace(time.Second), mailroom.WithClientCertificate(d.path("stranger.crt"), d.path("stranger.key")))
	_, err := stranger.CheckInbox(t.Context(), "bob")
	if !errors.Is(err, mailroom.ErrTLSFailed) && !errors.Is(err, mailroom.ErrDaemonNotRunning) || !strings.Contains(err.Error(), "client certificate") {
		t.Fatal(err)
	}
	plain := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	noTLS, err := net.Listen("tcp", plain)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = noTLS.Close() }()
	go func() {
		for {
			connection, err := noTLS.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			time.AfterFunc(time.Second, func() { _ = connection.Close() })
		}
	}()
	failures := map[string]*mailroom.Client{
		"not issued by a trusted authority": with(mailroom.WithTLS(d.path("other.crt"))),
		"does not cover this address":       with(mailroom.WithAddress(strings.Replace(address, "localhost", "127.0.0.1", 1))),
		"does not use TLS at this address":  with(mailroom.WithAddress(plain)),
	}
	for sentence, room := range failures {
		_, err := room.CheckInbox(t.Context(), "bob")
		if failure := assertError(t, err, codes.Unavailable, mailroom.ErrTLSFailed, ""); failure.Retryable() || !strings.Contains(failure.Message, sentence) {
			t.Fatalf("%q does not say %q", failure.Message, sentence)
		}
	}
}

func TestAClientWithoutTLSGetsAHint(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	room := open(t, mailroom.WithAddress(address), mailroom.WithToken("x"), mailroom.WithGrace(200*time.Millisecond))
	_, err := room.CheckInbox(t.Context(), "bob")
	if failure := assertError(t, err, codes.Unavailable, mailroom.ErrDaemonNotRunning, ""); !strings.Contains(failure.Message, "may require TLS") {
		t.Fatal(err)
	}
}

func TestCredentialsThatCannotBeUsedAreRefused(t *testing.T) {
	directory := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newAuthority(t, filepath.Join(directory, "ca"))
	ca := mailroom.WithTLS(filepath.Join(directory, "ca.crt"))
	text, empty := file("text", "no PEM"), file("empty", "\n")
	local := mailroom.WithAddress("127.0.0.1:1")
	failures := []struct {
		options []mailroom.Option
		reason  mailroom.Reason
		field   string
	}{
		{[]mailroom.Option{mailroom.WithAddress("192.0.2.7:50051"), mailroom.WithToken("secret")}, mailroom.ErrTLSMissing, "tls_ca"},
		{[]mailroom.Option{local, mailroom.WithToken(" ")}, mailroom.ErrTokenInvalid, "token"},
		{[]mailroom.Option{local, mailroom.WithToken("two words")}, mailroom.ErrTokenInvalid, "token"},
		{[]mailroom.Option{local, mailroom.WithTokenFile(empty)}, mailroom.ErrTokenInvalid, "token"},
		{[]mailroom.Option{local, mailroom.WithTokenFile(directory + "/none")}, mailroom.ErrFileUnreadable, "token_file"},
		{[]mailroom.Option{local, mailroom.WithTLS(text)}, mailroom.ErrTLSInvalid, "tls_ca"},
		{[]mailroom.Option{local, mailroom.WithTLS(empty)}, mailroom.ErrTLSInvalid, "tls_ca"},
		{[]mailroom.Option{local, ca, mailroom.WithClientCertificate(text, text)}, mailroom.ErrTLSInvalid, "tls_cert"},
		{[]mailroom.Option{local, mailroom.WithClientCertificate(text, text)}, mailroom.ErrTLSInvalid, "tls_ca"},
	}
	for i, one := range failures {
		if _, err := mailroom.Open(one.options...); err == nil {
			t.Errorf("%d is accepted", i)
		} else if failure := assertError(t, err, codes.InvalidArgument, one.reason, one.field); strings.Contains(failure.Message, "secret") {
			t.Error(failure)
		}
	}
	t.Setenv("MAILROOM_TLS_CLIENT_CERT", text)
	_, err := mailroom.Open(local, ca)
	assertError(t, err, codes.InvalidArgument, mailroom.ErrTLSInvalid, "tls_key")
	t.Setenv("MAILROOM_TLS_CA", "")
	_, err = mailroom.Open(local)
	assertError(t, err, codes.InvalidArgument, mailroom.ErrTLSInvalid, "tls_ca")
}
