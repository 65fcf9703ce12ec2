package mailroom

import (
	"context"
	"iter"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

var (
	checkInbox          = mailbox(pb.MailboxServiceClient.CheckInbox)
	acknowledgeMessages = mailbox(pb.MailboxServiceClient.AcknowledgeMessages)
	markOffered         = mailbox(pb.MailboxServiceClient.MarkOffered)
	getMessage          = mailbox(pb.MailboxServiceClient.GetMessage)
	listMessages        = mailbox(pb.MailboxServiceClient.ListMessages)
	clearMailbox        = mailbox(pb.MailboxServiceClient.ClearMailbox)
)

// CheckInbox returns an agent's unread messages, oldest first; with [Wait], it waits for the first one. It marks none read.
func (c *Client) CheckInbox(ctx context.Context, agent string, options ...InboxOption) (*Inbox, error) {
	var fields inboxFields
	for _, option := range options {
		option.applyToInbox(&fields)
	}
	limit, err := countOf("limit", fields.limit)
	if err == nil {
		err = checkText("agent", agent)
	}
	if err != nil {
		return nil, err
	}
	request := &pb.CheckInboxRequest{
		Agent: agent, Limit: limit, Wait: durationOf(fields.wait), Observe: fields.observe, UnofferedOnly: fields.newOnly,
		NewestFirst: fields.newestFirst,
	}
	response, err := call(ctx, c, request.GetWait().AsDuration(), checkInbox, request)
	if err != nil {
		return nil, err
	}
	return &Inbox{Messages: messagesFrom(response.GetMessages()), More: response.GetMore()}, nil
}

// Acknowledge marks messages read and removes their inbox files. To repeat it is harmless. It returns the ids that are read now, and
// those that the mailbox does not have.
func (c *Client) Acknowledge(ctx context.Context, agent string, ids ...string) (acknowledged, unknown []string, err error) {
	return c.AcknowledgeFor(ctx, agent, "", ids...)
}

// AcknowledgeFor is [Client.Acknowledge] by somebody in the agent's place, such as an operator; the history and the receipt say so.
func (c *Client) AcknowledgeFor(ctx context.Context, agent, by string, ids ...string) (acknowledged, unknown []string, err error) {
	if err := checkText("by", by); err != nil {
		return nil, nil, err
	}
	err = c.inPortions(agent, ids, func(portion []string) error {
		request := &pb.AcknowledgeMessagesRequest{Agent: agent, MessageIds: portion, By: by}
		response, err := call(ctx, c, 0, acknowledgeMessages, request)
		acknowledged = append(acknowledged, response.GetAcknowledgedIds()...)
		unknown = append(unknown, response.GetUnknownIds()...)
		return err
	})
	return acknowledged, unknown, err
}

// MarkOffered records that messages were shown to their recipient by other means than this client.
func (c *Client) MarkOffered(ctx context.Context, agent string, ids ...string) error {
	return c.inPortions(agent, ids, func(portion []string) error {
		_, err := call(ctx, c, 0, markOffered, &pb.MarkOfferedRequest{Agent: agent, MessageIds: portion})
		return err
	})
}

func (c *Client) inPortions(agent string, ids []string, handle func(portion []string) error) error {
	if err := checkText("agent", agent); err != nil {
		return err
	}
	portions, err := portions(ids)
	if err != nil {
		return err
	}
	for _, portion := range portions {
		if err := handle(portion); err != nil {
			return err
		}
	}
	return nil
}

// Get returns a message with its delivery and history.
func (c *Client) Get(ctx context.Context, id string) (*Tracked, error) {
	if err := checkText("id", id); err != nil {
		return nil, err
	}
	response, err := call(ctx, c, 0, getMessage, &pb.GetMessageRequest{Id: id})
	if err != nil {
		return nil, err
	}
	return trackedFrom(response), nil
}

// List returns the messages of one mailbox, or of every mailbox if agent is empty, newest first. It fetches pages while it is iterated
// over, and ends after an error.
func (c *Client) List(ctx context.Context, agent string, options ...ListOption) iter.Seq2[*Message, error] {
	fields := listFields{agent: agent}
	for _, option := range options {
		option.applyToList(&fields)
	}
	return pages(func(token string) ([]*Message, string, error) {
		fields := fields
		if token != "" {
			fields.page.token = token
		}
		page, err := c.listPage(ctx, fields)
		return page.Messages, page.NextPageToken, err
	})
}

// Search returns the messages that match a query, newest first, as [Client.List] does. They contain all of its words, in any order and
// case; "several words" in quotes match as a phrase, and word* matches a prefix.
func (c *Client) Search(ctx context.Context, query string, options ...ListOption) iter.Seq2[*Message, error] {
	return c.List(ctx, "", append(options[:len(options):len(options)], Matching(query))...)
}

// ListPage returns one page of what [Client.List] returns: the first, or that of [PageToken].
func (c *Client) ListPage(ctx context.Context, agent string, options ...ListOption) (*Page, error) {
	fields := listFields{agent: agent}
	for _, option := range options {
		option.applyToList(&fields)
	}
	page, err := c.listPage(ctx, fields)
	if err != nil {
		return nil, err
	}
	return &page, nil
}

func (c *Client) listPage(ctx context.Context, fields listFields) (Page, error) {
	size, err := countOf("page_size", fields.page.size)
	preview := int32(0)
	if err == nil {
		preview, err = countOf("preview_bytes", fields.preview)
	}
	texts := map[string]string{
		"agent": fields.agent, "thread_id": fields.thread, "query": fields.query, "page_token": fields.page.token,
		"sender": fields.sender,
	}
	for field, text := range texts {
		if err == nil {
			err = checkText(field, text)
		}
	}
	if err != nil {
		return Page{}, err
	}
	request := &pb.ListMessagesRequest{
		Agent: fields.agent, UnreadOnly: fields.unread, ThreadId: fields.thread, Query: fields.query, PageSize: size,
		PageToken: fields.page.token, Sender: fields.sender, PreviewBytes: preview,
		States: mapped(fields.states, func(state State) pb.DeliveryState { return pb.DeliveryState(state) }),
	}
	response, err := call(ctx, c, 0, listMessages, request)
	if err != nil {
		return Page{}, err
	}
	return Page{Messages: messagesFrom(response.GetMessages()), NextPageToken: response.GetNextPageToken()}, nil
}

// Clear deletes every message of a mailbox and its inbox files; it returns the number of deleted messages. A large mailbox is deleted
// in portions: after an error some messages may be left.
func (c *Client) Clear(ctx context.Context, agent string) (int64, error) {
	return c.ClearFor(ctx, agent, "")
}

// ClearFor is [Client.Clear] by somebody in the agent's place, such as an operator; the daemon's log says so.
func (c *Client) ClearFor(ctx context.Context, agent, by string) (int64, error) {
	err := checkText("agent", agent)
	if err == nil {
		err = checkText("by", by)
	}
	if err != nil {
		return 0, err
	}
	response, err := call(ctx, c, 0, clearMailbox, &pb.ClearMailboxRequest{Agent: agent, By: by})
	return response.GetDeleted(), err
}

// pages returns the entries of all pages, which it fetches on demand.
func pages[Entry any](fetch func(token string) (entries []Entry, next string, err error)) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		token := ""
		for {
			entries, next, err := fetch(token)
			if err != nil {
				var none Entry
				yield(none, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if token = next; token == "" {
				return
			}
		}
	}
}

// Collect returns everything that a sequence yields before its first error.
func Collect[Entry any](entries iter.Seq2[Entry, error]) ([]Entry, error) {
	var collected []Entry
	for entry, err := range entries {
		if err != nil {
			return collected, err
		}
		collected = append(collected, entry)
	}
	return collected, nil
}
