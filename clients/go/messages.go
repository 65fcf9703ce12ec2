package mailroom

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Priority is how urgent a message is. It is also an option of a send. A value that only a newer daemon knows stays a number.
type Priority int32

// The priorities, with the numbers of the contract.
const (
	Low    Priority = 1
	Normal Priority = 2
	High   Priority = 3
	Urgent Priority = 4
)

var priorityNames = []string{Low: "low", Normal: "normal", High: "high", Urgent: "urgent"}

// String returns the name, such as "high".
func (p Priority) String() string { return nameOf(priorityNames, int32(p), "priority") }

// MarshalText returns the name.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// A State is how far a message has come. A value that only a newer daemon knows stays a number.
type State int32

// The states, with the numbers of the contract.
const (
	StateStored    State = 1 // durable; writing the inbox file is pending
	StateFiled     State = 2 // the inbox file has been written too
	StateOffered   State = 3 // shown to the recipient at least once; unread
	StateRead      State = 4 // acknowledged by the recipient
	StateExpired   State = 5 // its time to live ended while it was unread
	StateOverdue   State = 6 // of receipts only: the time for an answer passed without one
	StateReturned  State = 7 // the host that it was for did not take it
	StateQueued    State = 8 // waits to leave for the host that it is for
	StateForwarded State = 9 // on its way to that host, which has not confirmed it
)

var stateNames = []string{
	StateStored: "stored", StateFiled: "filed", StateOffered: "offered", StateRead: "read", StateExpired: "expired", StateOverdue: "overdue",
	StateReturned: "returned", StateQueued: "queued", StateForwarded: "forwarded",
}

// String returns the name, such as "filed".
func (s State) String() string { return nameOf(stateNames, int32(s), "state") }

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func nameOf(names []string, number int32, kind string) string {
	if number > 0 && int(number) < len(names) {
		return names[number]
	}
	return fmt.Sprintf("%s %d", kind, number)
}

// A Message is one message as the daemon stored it. Absent times are zero, absent texts are empty.
type Message struct {
	ID             string // 16 lowercase hex digits; ids sort in delivery order
	Recipient      string
	Sender         string
	Content        string
	Type           string // "text" unless the sender gave another
	Metadata       Metadata
	Time           time.Time // when the daemon stored it
	Read           bool
	ThreadID       string
	InReplyTo      string // the id of the message that this one answers
	Priority       Priority
	ExpiresAt      time.Time
	ReplyBy        time.Time // by when the sender wants an answer
	State          State
	SenderVerified bool  // the sender proved its name with a token
	ContentSize    int64 // the size of the whole content, where a list shortened it ([Preview]); otherwise 0
}

// A Delivery says what became of a message.
type Delivery struct {
	State             State
	InboxFileError    string // why the inbox file has not been written yet
	TeamInboxError    string // the same for the native team inbox of an agent@team recipient
	Subscribers       int    // live subscribers that were notified
	RecipientKnown    bool   // the recipient has subscribed, checked its inbox or sent a message before
	RecipientLastSeen time.Time
	Reason            string   // why another host has returned the message
	AlsoAt            []string // if the recipient is not known on this host: others that list an agent of its name
}

// A Sent is a message that is durable, with its delivery.
type Sent struct {
	Message  *Message
	Delivery Delivery
}

// An Outcome is the result for one recipient of a broadcast, or for one draft of a bulk send: either Sent or Err is set. Its
// message has no content and no metadata.
type Outcome struct {
	Recipient string
	Sent      *Sent
	Err       error // an *Error
}

// A Tracked is a message with its delivery and its history of states.
type Tracked struct {
	Message  *Message
	Delivery Delivery
	History  []*Receipt
}

// An Inbox holds unread messages; More says whether there are further ones.
type Inbox struct {
	Messages []*Message
	More     bool
}

// A Page is one page of messages, newest first; NextPageToken is empty on the last one.
type Page struct {
	Messages      []*Message
	NextPageToken string
}

// A Draft is a message to be sent in bulk.
type Draft struct {
	To      string // an agent's name, a session id, or agent@team
	Content string // up to 1 MiB of UTF-8
	Options []SendOption
}

// NewDraft returns a draft. Give it a [Key] if the bulk send must be repeatable after a crash of its own program; to
// resume a broken stream needs none.
func NewDraft(to, content string, options ...SendOption) Draft {
	return Draft{To: to, Content: content, Options: options}
}

// An Event is what a subscription yields: a [*Message], a [*Receipt], a [*Response] or a [CaughtUp].
type Event interface {
	// EventID returns the event's place in the sequence of all events. Pass it to [After] to resume there.
	EventID() string
}

// EventID returns the message's id, which is its place.
func (m *Message) EventID() string { return m.ID }

// A Receipt is one step of a message on its way, for its sender.
type Receipt struct {
	MessageID string
	Recipient string
	State     State
	Time      time.Time // when the message reached the state
	By        string    // who acknowledged the message in its recipient's place; "" for the recipient
	Reason    string    // why the message was returned; "" if it was not

	eventID string
}

// EventID returns the receipt's place; empty in a message's history.
func (r *Receipt) EventID() string { return r.eventID }

// A Response is a JSON object that an agent left as a file in its outbox.
type Response struct {
	SessionID string
	FileName  string
	Body      json.RawMessage // the object, up to 3 MiB
	Time      time.Time       // when the daemon stored it

	eventID string
}

// EventID returns the response's place.
func (r *Response) EventID() string { return r.eventID }

// A CaughtUp says that the replay is over: later events are live. It begins a stream that starts live, and comes again after each
// reconnection.
type CaughtUp struct {
	LastID string // the place at which the replay ended
	Gap    bool   // events after the place that it was resumed from may be missing: the daemon has deleted them meanwhile
}

// EventID returns the place at which the replay ended.
func (c CaughtUp) EventID() string { return c.LastID }

// An Agent is a known agent with its presence and its aliases.
type Agent struct {
	Name        string
	Alive       bool // it is subscribed now, or was active within the last five minutes
	LastSeen    time.Time
	Subscribers int // its open streams
	Unread      int64
	Sessions    []string // its current aliases
	Host        string   // that it is on; empty if it is this one. The name of an agent on another host ends with it: bob:build7
}

// MailboxStats are the counts of one mailbox.
type MailboxStats struct {
	Agent           string
	Total           int64
	Unread          int64
	OldestUnreadAge time.Duration // 0 if nothing is unread
	Subscribers     int
	LastSeen        time.Time
}

// QueueStats are the pending inbox files of one session.
type QueueStats struct {
	Session   string
	Pending   int64
	OldestAge time.Duration
}

// A Status is the state of the daemon.
type Status struct {
	Version   string
	StartedAt time.Time
	Workers   []Worker
	KeepRead  time.Duration // how long read and expired messages are kept
	MaxUnread int64         // how many unread messages a mailbox may hold
	Hub       *Hub          // the exchange of mail with other hosts; nil if the daemon runs without --hub
}

// A Hub is the exchange of mail with other hosts.
type Hub struct {
	Host        string // the name of this host
	Connected   bool   // mail is exchanged
	LastContact time.Time
	Problem     string // why no mail is exchanged
	Hosts       []Host // the other hosts, by name
}

// A Host is another host.
type Host struct {
	Name         string
	LastSeen     time.Time // when it last wrote to the hub
	Waiting      int64     // messages that wait here until it confirms them
	WaitingBytes int64
	Problem      string // why nothing is sent to it
}

// PairTraffic is how many messages one sender sent to one mailbox.
type PairTraffic struct {
	Sender    string
	Recipient string
	Messages  int64
}

// Traffic says who talks to whom.
type Traffic struct {
	Pairs    []PairTraffic // the most messages first
	Since    time.Time     // since when messages are counted; later than asked for where that would have taken too long
	Messages int64         // all that are counted
}

// A Worker is one process of the daemon.
type Worker struct {
	Name      string // mailbox, command-queue, gateway, metrics; further gateways are numbered
	PID       int
	State     string // starting, running, restarting or stopping
	Restarts  int
	StartedAt time.Time
	LastExit  string // how its predecessor ended, such as "killed by SIGKILL"
}

// A Metric is one sample, with the name and labels that Prometheus sees.
type Metric struct {
	Name   string
	Labels map[string]string
	Value  float64
}
