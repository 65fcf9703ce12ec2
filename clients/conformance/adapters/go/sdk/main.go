// The adapter for the Go SDK.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mailroom-daemon/mailroom/clients/conformance/adapters/go/lines"
	"github.com/mailroom-daemon/mailroom/clients/go"
)

var (
	version    = "of a checkout" // set when it is linked
	rooms      = map[string]*mailroom.Client{}
	priorities = map[string]mailroom.Priority{
		"PRIORITY_LOW": mailroom.Low, "PRIORITY_NORMAL": mailroom.Normal, "PRIORITY_HIGH": mailroom.High, "PRIORITY_URGENT": mailroom.Urgent,
	}
)

// request has the fields of every request that a scenario makes.
type request struct {
	Agent, Recipient, Content, Type, ThreadID, InReplyTo, Priority, ID, Session, SessionID, Query, PageToken, AfterID string
	Sender, TTL, ReplyBy, IdempotencyKey, Wait                                                                        *string
	Metadata                                                                                                          mailroom.Metadata
	Recipients, MessageIDs                                                                                            []string
	Limit, PageSize                                                                                                   int
	Observe, UnofferedOnly, NewestFirst, AliveOnly, UnreadOnly, IncludeUnread, IncludeReceipts                        bool
	Message                                                                                                           *request
	Messages                                                                                                          []request
}

func open(line lines.Line) {
	var options []mailroom.Option
	if line.Target != "" {
		options = append(options, mailroom.WithAddress(line.Target))
	}
	if line.Token != nil {
		options = append(options, mailroom.WithToken(*line.Token))
	}
	if line.CA != "" {
		options = append(options, mailroom.WithTLS(line.CA))
	}
	if line.Cert != "" {
		options = append(options, mailroom.WithClientCertificate(line.Cert, line.Key))
	}
	room, err := mailroom.Open(options...)
	lines.Must(err)
	rooms[line.Name] = room
}

func duration(text string) time.Duration {
	span, err := time.ParseDuration(text)
	lines.Must(err)
	return span
}

func sendOptions(q request) []mailroom.SendOption {
	var options []mailroom.SendOption
	add := func(isGiven bool, option func() mailroom.SendOption) {
		if isGiven {
			options = append(options, option())
		}
	}
	add(q.Sender != nil, func() mailroom.SendOption { return mailroom.From(*q.Sender) })
	add(q.Type != "", func() mailroom.SendOption { return mailroom.Type(q.Type) })
	add(q.Metadata != nil, func() mailroom.SendOption { return q.Metadata })
	add(q.ThreadID != "", func() mailroom.SendOption { return mailroom.Thread(q.ThreadID) })
	add(q.InReplyTo != "", func() mailroom.SendOption { return mailroom.InReplyTo(q.InReplyTo) })
	add(q.Priority != "", func() mailroom.SendOption { return priorities[q.Priority] })
	add(q.TTL != nil, func() mailroom.SendOption { return mailroom.TTL(duration(*q.TTL)) })
	add(q.IdempotencyKey != nil, func() mailroom.SendOption { return mailroom.Key(*q.IdempotencyKey) })
	add(q.ReplyBy != nil, func() mailroom.SendOption {
		moment, err := time.Parse(time.RFC3339, *q.ReplyBy)
		lines.Must(err)
		return mailroom.ReplyBy(moment)
	})
	return options
}

// The SDK's values as proto3 JSON has them: absent instead of empty, long names of enums.

func compact(fields lines.Answer) lines.Answer {
	for key, value := range fields {
		switch value := value.(type) {
		case string:
			deleteIf(fields, key, value == "")
		case bool:
			deleteIf(fields, key, !value)
		case time.Time:
			fields[key] = value.Format(time.RFC3339Nano)
			deleteIf(fields, key, value.IsZero())
		case mailroom.State:
			fields[key] = "DELIVERY_STATE_" + strings.ToUpper(value.String())
		case mailroom.Priority:
			fields[key] = "PRIORITY_" + strings.ToUpper(value.String())
		}
	}
	return fields
}

func deleteIf(fields lines.Answer, key string, isEmpty bool) {
	if isEmpty {
		delete(fields, key)
	}
}

func each[From any](items []From, convert func(From) lines.Answer) []lines.Answer {
	converted := make([]lines.Answer, len(items))
	for i, item := range items {
		converted[i] = convert(item)
	}
	return converted
}

func messageOf(m *mailroom.Message) lines.Answer {
	return compact(lines.Answer{
		"id": m.ID, "recipient": m.Recipient, "sender": m.Sender, "content": m.Content, "type": m.Type, "metadata": m.Metadata,
		"timestamp": m.Time, "read": m.Read, "threadId": m.ThreadID, "inReplyTo": m.InReplyTo, "priority": m.Priority,
		"expiresAt": m.ExpiresAt, "replyBy": m.ReplyBy, "state": m.State, "senderVerified": m.SenderVerified,
	})
}

func deliveryOf(d mailroom.Delivery) lines.Answer {
	return compact(lines.Answer{"state": d.State, "inboxFileError": d.InboxFileError, "recipientKnown": d.RecipientKnown})
}

func sentOf(sent *mailroom.Sent) lines.Answer {
	return lines.Answer{"message": messageOf(sent.Message), "delivery": deliveryOf(sent.Delivery)}
}

func receiptOf(r *mailroom.Receipt) lines.Answer {
	return compact(lines.Answer{"messageId": r.MessageID, "recipient": r.Recipient, "state": r.State, "timestamp": r.Time})
}

func outcomeOf(outcome mailroom.Outcome) lines.Answer {
	if outcome.Err != nil {
		return lines.Answer{"error": errorOf(outcome.Err)}
	}
	return lines.Answer{"ok": sentOf(outcome.Sent)}
}

func eventOf(event mailroom.Event) lines.Answer {
	switch event := event.(type) {
	case *mailroom.Message:
		return lines.Answer{"eventId": event.EventID(), "message": messageOf(event)}
	case *mailroom.Receipt:
		return lines.Answer{"eventId": event.EventID(), "receipt": receiptOf(event)}
	case *mailroom.Response:
		response := lines.Answer{"sessionId": event.SessionID, "fileName": event.FileName, "body": event.Body, "timestamp": event.Time}
		return lines.Answer{"eventId": event.EventID(), "commandResponse": compact(response)}
	default:
		return lines.Answer{"eventId": event.EventID(), "caughtUp": lines.Answer{}}
	}
}

func errorOf(err error) lines.Answer {
	var failure *mailroom.Error
	if !errors.As(err, &failure) {
		panic(err)
	}
	found := lines.Answer{
		"code": lines.CodeName(failure.Code), "message": failure.Message, "reason": failure.Reason, "field": failure.Field,
	}
	if failure.RetryAfter > 0 {
		found["retry_ms"] = failure.RetryAfter.Milliseconds()
	}
	return found
}

func inboxOptions(q request) []mailroom.InboxOption {
	var options []mailroom.InboxOption
	if q.Wait != nil {
		options = append(options, mailroom.Wait(duration(*q.Wait)))
	}
	if q.Limit != 0 {
		options = append(options, mailroom.Limit(q.Limit))
	}
	if q.Observe {
		options = append(options, mailroom.Observe())
	}
	if q.UnofferedOnly {
		options = append(options, mailroom.NewOnly())
	}
	if q.NewestFirst {
		options = append(options, mailroom.NewestFirst())
	}
	return options
}

func listOptions(q request) []mailroom.ListOption {
	options := []mailroom.ListOption{mailroom.Matching(q.Query), mailroom.PageSize(q.PageSize), mailroom.PageToken(q.PageToken)}
	if q.UnreadOnly {
		options = append(options, mailroom.Unread())
	}
	return options
}

func collect[Entry any](name string, entries iter.Seq2[Entry, error], convert func(Entry) lines.Answer) (lines.Answer, error) {
	all, err := mailroom.Collect(entries)
	return lines.Answer{name: each(all, convert)}, err
}

type call func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error)

var calls = map[string]call{
	"SendMessage": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		sent, err := room.Send(ctx, q.Recipient, q.Content, sendOptions(q)...)
		if err != nil {
			return nil, err
		}
		return sentOf(sent), nil
	},
	"BroadcastMessage": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		outcomes, err := room.Broadcast(ctx, q.Recipients, q.Message.Content, sendOptions(*q.Message)...)
		return lines.Answer{"results": each(outcomes, outcomeOf)}, err
	},
	"CheckInbox": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		inbox, err := room.CheckInbox(ctx, q.Agent, inboxOptions(q)...)
		if err != nil {
			return nil, err
		}
		return compact(lines.Answer{"messages": each(inbox.Messages, messageOf), "more": inbox.More}), nil
	},
	"AcknowledgeMessages": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		acknowledged, unknown, err := room.Acknowledge(ctx, q.Agent, q.MessageIDs...)
		return lines.Answer{"acknowledgedIds": acknowledged, "unknownIds": unknown}, err
	},
	"MarkOffered": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		return lines.Answer{}, room.MarkOffered(ctx, q.Agent, q.MessageIDs...)
	},
	"GetMessage": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		tracked, err := room.Get(ctx, q.ID)
		if err != nil {
			return nil, err
		}
		return lines.Answer{
			"message": messageOf(tracked.Message), "delivery": deliveryOf(tracked.Delivery), "history": each(tracked.History, receiptOf),
		}, nil
	},
	"ListMessages": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		page, err := room.ListPage(ctx, q.Agent, listOptions(q)...)
		if err != nil {
			return nil, err
		}
		return compact(lines.Answer{"messages": each(page.Messages, messageOf), "nextPageToken": page.NextPageToken}), nil
	},
	"ClearMailbox": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		deleted, err := room.Clear(ctx, q.Agent)
		return lines.Answer{"deleted": deleted}, err
	},
	"GetMailboxStats": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		return collect("mailboxes", room.MailboxStats(ctx, q.Agent), func(m *mailroom.MailboxStats) lines.Answer {
			return lines.Answer{"agentId": m.Agent, "total": m.Total, "unread": m.Unread, "subscribers": m.Subscribers}
		})
	},
	"GetQueueStats": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		return collect("queues", room.QueueStats(ctx, q.SessionID), func(s *mailroom.QueueStats) lines.Answer {
			return lines.Answer{"sessionId": s.Session, "pendingCount": s.Pending}
		})
	},
	"ListAgents": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		var options []mailroom.AgentsOption
		if q.AliveOnly {
			options = append(options, mailroom.Alive())
		}
		return collect("agents", room.Agents(ctx, options...), func(a *mailroom.Agent) lines.Answer {
			return lines.Answer{"name": a.Name, "sessions": a.Sessions, "alive": a.Alive}
		})
	},
	"SetAlias": func(ctx context.Context, room *mailroom.Client, q request) (lines.Answer, error) {
		var options []mailroom.AliasOption
		if q.TTL != nil && duration(*q.TTL) == 0 {
			return lines.Answer{}, room.EndAlias(ctx, q.Agent, q.Session)
		} else if q.TTL != nil {
			options = append(options, mailroom.TTL(duration(*q.TTL)))
		}
		expires, err := room.SetAlias(ctx, q.Agent, q.Session, options...)
		return compact(lines.Answer{"expiresAt": expires}), err
	},
	"GetStatus": func(ctx context.Context, room *mailroom.Client, _ request) (lines.Answer, error) {
		status, err := room.Status(ctx)
		if err != nil {
			return nil, err
		}
		return lines.Answer{"version": status.Version, "workers": status.Workers}, nil
	},
}

func run(ctx context.Context, line lines.Line, event func(any)) lines.Answer {
	room := rooms[line.On]
	var q request
	if line.Op != "bulk" {
		lines.Must(json.Unmarshal(line.Request, &q))
	}
	switch {
	case line.Raw != "":
		return lines.Answer{"unsupported": "the SDK sends no bytes of the program's own"}
	case line.Op == "stream":
		return subscribe(ctx, room, q, event)
	case line.Op == "bulk":
		return bulk(ctx, room, line.Requests)
	case line.NaN:
		q.Metadata = mailroom.Metadata{"not a number": math.NaN()}
	}
	result, err := calls[line.Method](ctx, room, q)
	if err != nil {
		return lines.Answer{"error": errorOf(err)}
	}
	return lines.Answer{"ok": result}
}

func subscribe(ctx context.Context, room *mailroom.Client, q request, event func(any)) lines.Answer {
	options := []mailroom.SubscribeOption{mailroom.After(q.AfterID)}
	if q.IncludeUnread {
		options = append(options, mailroom.Unread())
	}
	if q.IncludeReceipts {
		options = append(options, mailroom.Receipts())
	}
	if q.Observe {
		options = append(options, mailroom.Observe())
	}
	for one, err := range room.Subscribe(ctx, q.Agent, options...) {
		if err != nil {
			return lines.Answer{"end": errorOf(err)}
		}
		event(eventOf(one))
	}
	return lines.Answer{"end": lines.Answer{"code": "OK"}}
}

func bulk(ctx context.Context, room *mailroom.Client, requests []json.RawMessage) lines.Answer {
	var drafts []mailroom.Draft
	for _, text := range requests {
		var q request
		lines.Must(json.Unmarshal(text, &q))
		for _, one := range q.Messages {
			drafts = append(drafts, mailroom.NewDraft(one.Recipient, one.Content, sendOptions(one)...))
		}
	}
	var results []lines.Answer
	for outcome, err := range room.Bulk(ctx, slices.Values(drafts)) {
		if err != nil {
			return lines.Answer{"error": errorOf(err)}
		}
		results = append(results, outcomeOf(outcome))
	}
	return lines.Answer{"responses": []lines.Answer{{"results": results}}}
}

func main() {
	lines.Serve(lines.Answer{"library": "mailroom", "version": version, "kind": "sdk"}, open, run)
}
