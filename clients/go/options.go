package mailroom

import (
	"time"
)

// An Option configures a client that [Open] makes.
type Option interface {
	apply(*config)
}

// A ChannelOption is an Option that [New] takes as well.
type ChannelOption interface {
	Option
	forChannel()
}

// config is what a program says about its client.
type config struct {
	address string
	sender  *string
	timeout time.Duration
	grace   time.Duration
	access  access
}

type option func(*config)

func (o option) apply(c *config) { o(c) }

type channelOption func(*config)

func (o channelOption) apply(c *config) { o(c) }

func (channelOption) forChannel() {}

// WithSender sets the name to send under. The default is MAILROOM_AGENT.
func WithSender(name string) ChannelOption {
	return channelOption(func(c *config) { c.sender = &name })
}

// WithTimeout sets the time for a call whose context has no deadline, with all of its repetitions. The default is 30 s.
func WithTimeout(timeout time.Duration) ChannelOption {
	return channelOption(func(c *config) { c.timeout = timeout })
}

// WithAddress names the daemon: unix:PATH, an absolute path, or HOST:PORT. The default is MAILROOM_ADDRESS; without it, the client
// looks for the daemon as the command line does.
func WithAddress(address string) Option {
	return option(func(c *config) { c.address = address })
}

// WithGrace sets how long to look for a daemon that has never answered, before a call fails with DAEMON_NOT_RUNNING. The default is 2 s.
func WithGrace(grace time.Duration) Option {
	return option(func(c *config) { c.grace = grace })
}

// WithToken sets the token. The default is MAILROOM_TOKEN.
func WithToken(token string) Option {
	return option(func(c *config) { c.access.token = &token })
}

// WithTokenFile names a file with the token. The default is MAILROOM_TOKEN_FILE.
func WithTokenFile(file string) Option {
	return option(func(c *config) { c.access.tokenFile = &file })
}

// WithTLS names a PEM file with the authorities that may issue the daemon's certificate, and so enables TLS over TCP. The default is
// MAILROOM_TLS_CA.
func WithTLS(caFile string) Option {
	return option(func(c *config) { c.access.ca = &caFile })
}

// WithClientCertificate names PEM files with this client's certificate chain and its private key, for mutual TLS. The default is
// MAILROOM_TLS_CLIENT_CERT and MAILROOM_TLS_CLIENT_KEY.
func WithClientCertificate(certFile, keyFile string) Option {
	return option(func(c *config) { c.access.cert, c.access.key = &certFile, &keyFile })
}

// A SendOption sets an optional field of a message: [Metadata], [Priority], [From], [Type], [Thread], [InReplyTo], [TTL], [ReplyBy],
// [ReplyWithin], [Key].
type SendOption interface {
	ReplyOption
	applyToMessage(*messageFields)
}

// A ReplyOption is a SendOption or [AndAcknowledge].
type ReplyOption interface {
	applyToReply(*replyFields)
}

// messageFields are the optional fields of a message.
type messageFields struct {
	sender    *string
	kind      string
	metadata  Metadata
	thread    string
	inReplyTo string
	priority  Priority
	ttl       *time.Duration
	replyBy   *time.Time
	key       *string
}

type replyFields struct {
	message     messageFields
	acknowledge bool
}

type messageOption func(*messageFields)

func (o messageOption) applyToMessage(m *messageFields) { o(m) }

func (o messageOption) applyToReply(r *replyFields) { o(&r.message) }

func (m Metadata) applyToMessage(f *messageFields) { f.metadata = m }

func (m Metadata) applyToReply(r *replyFields) { r.message.metadata = m }

func (p Priority) applyToMessage(f *messageFields) { f.priority = p }

func (p Priority) applyToReply(r *replyFields) { r.message.priority = p }

// FromOption is the result of [From].
type FromOption string

func (f FromOption) applyToMessage(m *messageFields) { sender := string(f); m.sender = &sender }

func (f FromOption) applyToReply(r *replyFields) { f.applyToMessage(&r.message) }

func (f FromOption) applyToList(l *listFields) { l.sender = string(f) }

// From sets the sender of one message; the default is the client's. Of a list it is whose messages to list.
func From(sender string) FromOption { return FromOption(sender) }

// Type sets the type of a message, up to 128 bytes. The default is "text".
func Type(name string) SendOption {
	return messageOption(func(m *messageFields) { m.kind = name })
}

// InReplyTo names the message that this one answers. [Client.Reply] does this.
func InReplyTo(id string) SendOption {
	return messageOption(func(m *messageFields) { m.inReplyTo = id })
}

// ReplyBy says by when an answer is wanted. If the recipient has not answered then, the sender gets a receipt with StateOverdue.
// Under an idempotency key the time of the first send holds.
func ReplyBy(moment time.Time) SendOption {
	return messageOption(func(m *messageFields) { m.replyBy = &moment })
}

// ReplyWithin is ReplyBy with a time from now on.
func ReplyWithin(span time.Duration) SendOption { return ReplyBy(time.Now().Add(span)) }

// Key sets the idempotency key: sends with the same key are one message, for 24 hours. The default is a random key for each call.
func Key(key string) SendOption {
	return messageOption(func(m *messageFields) { m.key = &key })
}

type acknowledging struct{}

func (acknowledging) applyToReply(r *replyFields) { r.acknowledge = true }

// AndAcknowledge marks the answered message read once the reply is durable.
func AndAcknowledge() ReplyOption { return acknowledging{} }

// ThreadOption is the result of [Thread].
type ThreadOption string

func (t ThreadOption) applyToMessage(m *messageFields) { m.thread = string(t) }

func (t ThreadOption) applyToReply(r *replyFields) { r.message.thread = string(t) }

func (t ThreadOption) applyToList(l *listFields) { l.thread = string(t) }

// Thread puts a message into a thread, up to 128 bytes, or lists only messages of the thread.
func Thread(id string) ThreadOption { return ThreadOption(id) }

// TTLOption is the result of [TTL].
type TTLOption time.Duration

func (t TTLOption) applyToMessage(m *messageFields) { span := time.Duration(t); m.ttl = &span }

func (t TTLOption) applyToReply(r *replyFields) { t.applyToMessage(&r.message) }

func (t TTLOption) applyToAlias(a *aliasFields) { span := time.Duration(t); a.ttl = &span }

// TTL sets the lifetime of a message: if it is still unread then, it expires, and its sender gets a receipt. Of an alias it is how
// long the alias lasts.
func TTL(span time.Duration) TTLOption { return TTLOption(span) }

// An AliasOption is a [TTL].
type AliasOption interface {
	applyToAlias(*aliasFields)
}

type aliasFields struct {
	ttl *time.Duration
}
