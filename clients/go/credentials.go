package mailroom

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"regexp"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

var tokenWord = regexp.MustCompile(`\A[!-~]+\z`) // what a header can carry; the daemon decides whether it is a valid token

// access is what a program says about tokens and TLS. Each option defaults to an environment variable, then to none.
type access struct {
	token, tokenFile, ca, cert, key *string
}

// A clientCredentials has a client's token and TLS configuration. The token is never printed, and never sent where others on the
// network could read it.
type clientCredentials struct {
	token bearer      // "" for none
	tls   *tls.Config // nil for no TLS; never used for a Unix socket, which does not need it
}

// dialOptions returns the options for a connection to an address.
func (c clientCredentials) dialOptions(to address) ([]grpc.DialOption, error) {
	transport := insecure.NewCredentials()
	if to.socketPath() == "" {
		switch {
		case c.tls != nil:
			transport = credentials.NewTLS(c.tls)
		case c.token != "" && !to.isLoopback():
			return nil, invalid(ErrTLSMissing, "tls_ca", "%s is on another machine, and without TLS others on the network could read "+
				"the token: set MAILROOM_TLS_CA to the authority's certificate", to.text)
		}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if c.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(c.token))
	}
	return options, nil
}

// A bearer is a token, as gRPC takes it.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity returns false: dialOptions has decided already.
func (b bearer) RequireTransportSecurity() bool { return false }

func (b bearer) String() string { return "bearer token" }

func (b bearer) GoString() string { return b.String() }

// findCredentials reads tokens and files.
func findCredentials(given access, env environment) (clientCredentials, error) {
	token, err := findToken(given, env)
	if err != nil {
		return clientCredentials{}, err
	}
	ca, err := readTLS("tls_ca", given.ca, "MAILROOM_TLS_CA", env)
	if err != nil {
		return clientCredentials{}, err
	}
	cert, err := readTLS("tls_cert", given.cert, "MAILROOM_TLS_CLIENT_CERT", env)
	if err != nil {
		return clientCredentials{}, err
	}
	key, err := readTLS("tls_key", given.key, "MAILROOM_TLS_CLIENT_KEY", env)
	if err != nil {
		return clientCredentials{}, err
	}
	config, err := tlsConfig(ca, cert, key)
	return clientCredentials{token: bearer(token), tls: config}, err
}

func tlsConfig(ca, cert, key []byte) (*tls.Config, error) {
	switch {
	case cert != nil && key == nil:
		return nil, invalid(ErrTLSInvalid, "tls_key", "tls_key is missing: a certificate and its key must be given together")
	case cert == nil && key != nil:
		return nil, invalid(ErrTLSInvalid, "tls_cert", "tls_cert is missing: a certificate and its key must be given together")
	case cert != nil && ca == nil:
		return nil, invalid(ErrTLSInvalid, "tls_ca",
			"tls_ca is missing: a client certificate requires TLS, which requires the daemon's authority")
	case ca == nil:
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, invalid(ErrTLSInvalid, "tls_ca", "tls_ca has no certificate: give a PEM file with the daemon's authority")
	}
	if cert != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, invalid(ErrTLSInvalid, "tls_cert", "the client certificate and its key cannot be used: %v", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func findToken(given access, env environment) (string, error) {
	text, source, err := tokenText(given, env)
	if source == "" || err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	if text == "" { // often an unset variable of a script, which must not turn an agent into the owner
		return "", invalid(ErrTokenInvalid, "token", "%s is empty: give a token, or none at all", source)
	}
	if !tokenWord.MatchString(text) {
		return "", invalid(ErrTokenInvalid, "token", "%s does not contain a token: expected a single word", source)
	}
	return text, nil
}

// tokenText returns the text of the token and where it comes from; the source is "" if there is none.
func tokenText(given access, env environment) (text, source string, err error) {
	if given.token != nil {
		return *given.token, "token", nil
	}
	if given.tokenFile != nil {
		content, err := readFile(*given.tokenFile, "token_file", env)
		return string(content), *given.tokenFile, err
	}
	if text, isSet := env("MAILROOM_TOKEN"); isSet {
		return text, "MAILROOM_TOKEN", nil
	}
	if file, isSet := env("MAILROOM_TOKEN_FILE"); isSet {
		content, err := readFile(file, "MAILROOM_TOKEN_FILE", env)
		return string(content), "MAILROOM_TOKEN_FILE", err
	}
	return "", "", nil
}

func readTLS(name string, given *string, variable string, env environment) ([]byte, error) {
	if given != nil {
		return readFile(*given, name, env)
	}
	file, isSet := env(variable)
	if !isSet {
		return nil, nil
	}
	if file == "" { // often an unset variable of a script, which must not turn TLS off
		return nil, invalid(ErrTLSInvalid, name, "%s is empty: set it, or unset it", variable)
	}
	return readFile(file, variable, env)
}

func readFile(file, source string, env environment) ([]byte, error) {
	path, err := expandHome(file, env)
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, invalid(ErrFileUnreadable, source, "%s: %s cannot be read (%s)", source, file, errorText(err))
	}
	return append([]byte{}, content...), nil // not nil, even if the file is empty
}
