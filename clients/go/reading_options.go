package mailroom

import "time"

// A SubscribeOption says where a subscription starts and what it yields: [Unread], [After], [Receipts], [Observe], [Preview],
// [OnInterrupted].
type SubscribeOption interface {
	applyToSubscription(*subscriptionFields)
}

type subscriptionFields struct {
	after         string
	unread        bool
	receipts      bool
	observe       bool
	preview       int
	onInterrupted func(error)
}

type subscribeOption func(*subscriptionFields)

func (o subscribeOption) applyToSubscription(s *subscriptionFields) { o(s) }

// Beginning is the place before every event, for [After].
const Beginning = "0000000000000000"

// After starts a subscription after an event instead of now: give the event's EventID, or [Beginning].
func After(eventID string) SubscribeOption {
	return subscribeOption(func(s *subscriptionFields) { s.after = eventID })
}

// Receipts also yields the receipts of messages that the agent sent.
func Receipts() SubscribeOption {
	return subscribeOption(func(s *subscriptionFields) { s.receipts = true })
}

// OnInterrupted is called with the error each time that the stream broke and will be resumed.
func OnInterrupted(report func(error)) SubscribeOption {
	return subscribeOption(func(s *subscriptionFields) { s.onInterrupted = report })
}

// UnreadOption is the result of [Unread].
type UnreadOption struct{}

func (UnreadOption) applyToSubscription(s *subscriptionFields) { s.unread = true }

func (UnreadOption) applyToList(l *listFields) { l.unread = true }

// Unread starts a subscription with the unread messages, or lists only these.
func Unread() UnreadOption { return UnreadOption{} }

// ObserveOption is the result of [Observe].
type ObserveOption struct{}

func (ObserveOption) applyToSubscription(s *subscriptionFields) { s.observe = true }

func (ObserveOption) applyToInbox(i *inboxFields) { i.observe = true }

// Observe marks no message offered, and does not count as presence of the agent.
func Observe() ObserveOption { return ObserveOption{} }

// An InboxOption says which unread messages to return: [Wait], [Limit], [NewOnly], [NewestFirst], [Observe].
type InboxOption interface {
	applyToInbox(*inboxFields)
}

type inboxFields struct {
	wait        *time.Duration
	limit       int
	newOnly     bool
	newestFirst bool
	observe     bool
}

type inboxOption func(*inboxFields)

func (o inboxOption) applyToInbox(i *inboxFields) { o(i) }

// Wait waits so long for the first message. The wait ends earlier where the deadline of the context does, or when the daemon stops;
// then the inbox is empty, and there is no error.
func Wait(span time.Duration) InboxOption {
	return inboxOption(func(i *inboxFields) { i.wait = &span })
}

// Limit sets the maximum number of messages, 50 by default.
func Limit(messages int) InboxOption {
	return inboxOption(func(i *inboxFields) { i.limit = messages })
}

// NewOnly leaves out messages that were offered before. A response that is lost on its way counts as offered: where that matters, use
// [Observe], and call [Client.MarkOffered] afterwards.
func NewOnly() InboxOption {
	return inboxOption(func(i *inboxFields) { i.newOnly = true })
}

// NewestFirst reverses the order.
func NewestFirst() InboxOption {
	return inboxOption(func(i *inboxFields) { i.newestFirst = true })
}

// A ListOption says which messages to list, and what of them: [Unread], [Thread], [Matching], [InMailbox], [From], [InStates], [Preview],
// [PageSize], [PageToken].
type ListOption interface {
	applyToList(*listFields)
}

type listFields struct {
	agent   string
	unread  bool
	thread  string
	query   string
	sender  string
	states  []State
	preview int
	page    pageFields
}

type listOption func(*listFields)

func (o listOption) applyToList(l *listFields) { o(l) }

// Matching lists only messages that match a full-text query, as [Client.Search] does.
func Matching(query string) ListOption {
	return listOption(func(l *listFields) { l.query = query })
}

// InStates lists only messages in one of these states. Messages that were offered within the last second may be missing.
func InStates(states ...State) ListOption {
	return listOption(func(l *listFields) { l.states = states })
}

// PreviewOption is the result of [Preview].
type PreviewOption int

func (p PreviewOption) applyToList(l *listFields) { l.preview = int(p) }

func (p PreviewOption) applyToSubscription(s *subscriptionFields) { s.preview = int(p) }

// Preview shortens each content to a number of bytes, and leaves metadata out; ContentSize then has its size. A subscription that gets
// previews must [Observe], or be that of [Client.SubscribeAll].
func Preview(bytes int) PreviewOption { return PreviewOption(bytes) }

// InMailbox lists only messages of one mailbox.
func InMailbox(agent string) ListOption {
	return listOption(func(l *listFields) { l.agent = agent })
}

// An AgentsOption says which agents to list: [Alive], [AllHosts] or [PageSize].
type AgentsOption interface {
	applyToAgents(*agentsFields)
}

type agentsFields struct {
	alive    bool
	allHosts bool
	page     pageFields
}

// AliveOption is the result of [Alive].
type AliveOption struct{}

func (AliveOption) applyToAgents(a *agentsFields) { a.alive = true }

// Alive lists only agents that are subscribed now, or were active within the last five minutes.
func Alive() AliveOption { return AliveOption{} }

// AllHostsOption is the result of [AllHosts].
type AllHostsOption struct{}

func (AllHostsOption) applyToAgents(a *agentsFields) { a.allHosts = true }

// AllHosts also lists the agents that are present on other hosts, as this one last heard from the hub.
func AllHosts() AllHostsOption { return AllHostsOption{} }

// A StatsOption is a [PageSize].
type StatsOption interface {
	applyToStats(*pageFields)
}

type pageFields struct {
	size  int
	token string
}

// PageSizeOption is the result of [PageSize].
type PageSizeOption int

func (p PageSizeOption) applyToList(l *listFields) { l.page.size = int(p) }

func (p PageSizeOption) applyToAgents(a *agentsFields) { a.page.size = int(p) }

func (p PageSizeOption) applyToStats(f *pageFields) { f.size = int(p) }

// PageSize sets how many entries one call fetches.
func PageSize(entries int) PageSizeOption { return PageSizeOption(entries) }

// PageToken starts a list at a page: give the NextPageToken of the page before.
func PageToken(token string) ListOption {
	return listOption(func(l *listFields) { l.page.token = token })
}
