package mailroom_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mailroom-daemon/mailroom/clients/go"
)

func send(t testing.TB, room *mailroom.Client, to, content string, options ...mailroom.SendOption) *mailroom.Sent {
	t.Helper()
	sent, err := room.Send(t.Context(), to, content, options...)
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func get(t testing.TB, room *mailroom.Client, id string) *mailroom.Tracked {
	t.Helper()
	tracked, err := room.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return tracked
}

func TestSendStoresAMessageWithAllOfItsFields(t *testing.T) {
	room := shared(t).room(t)
	parent := send(t, room, "fields", "first")
	replyBy := time.Date(2033, 1, 2, 3, 4, 5, 678e6, time.UTC)
	sent := send(t, room, "fields", "go", mailroom.From("other"), mailroom.Type("context_push"), mailroom.Metadata{"build": 7},
		mailroom.Thread("thread"), mailroom.InReplyTo(parent.Message.ID), mailroom.High, mailroom.TTL(time.Hour), mailroom.ReplyBy(replyBy))
	message := *sent.Message
	if len(message.ID) != 16 || !message.ExpiresAt.Equal(message.Time.Add(time.Hour)) || time.Since(message.Time) > bound {
		t.Fatalf("%+v", message)
	}
	wanted := mailroom.Message{
		ID: message.ID, Time: message.Time, ExpiresAt: message.ExpiresAt, Recipient: "fields", Sender: "other", Content: "go",
		Type: "context_push", Metadata: mailroom.Metadata{"build": 7.0}, ThreadID: "thread", InReplyTo: parent.Message.ID,
		Priority: mailroom.High, ReplyBy: replyBy, State: mailroom.StateFiled,
	}
	if !reflect.DeepEqual(message, wanted) {
		t.Fatalf("%+v instead of %+v", message, wanted)
	}
	if !reflect.DeepEqual(sent.Delivery, mailroom.Delivery{State: mailroom.StateFiled}) {
		t.Fatalf("%+v", sent.Delivery)
	}
	shared(t).assertStored(t, "fields", []string{"first", "go"}, true)
}

func TestReplyAnswersInTheThreadAndAcknowledges(t *testing.T) {
	room := shared(t).room(t)
	message := send(t, room, "answering", "question", mailroom.Thread("talk")).Message
	nameless := open(t, mailroom.WithAddress(shared(t).address))
	reply, err := nameless.Reply(t.Context(), message, "answer", mailroom.AndAcknowledge(), mailroom.Urgent)
	if err != nil {
		t.Fatal(err)
	}
	answer := reply.Message
	if answer.Recipient != "tester" || answer.Sender != "answering" || answer.ThreadID != "talk" || answer.InReplyTo != message.ID ||
		answer.Priority != mailroom.Urgent {
		t.Fatalf("%+v", answer)
	}
	if state := get(t, room, message.ID).Message.State; state != mailroom.StateRead {
		t.Fatalf("the message is %v", state)
	}
	threadless := send(t, room, "answering", "another").Message
	if reply, err = room.Reply(t.Context(), threadless, "answer", mailroom.From("somebody")); err != nil {
		t.Fatal(err)
	}
	if reply.Message.ThreadID != "" || reply.Message.Sender != "somebody" {
		t.Fatalf("%+v", reply.Message)
	}
}

func TestBroadcastGivesAnOutcomeForEachRecipient(t *testing.T) {
	room := shared(t).room(t)
	outcomes, err := room.Broadcast(t.Context(), []string{"left", "not a name", "right"}, "lunch")
	if err != nil {
		t.Fatal(err)
	}
	for i, recipient := range []string{"left", "not a name", "right"} {
		outcome := outcomes[i]
		if outcome.Recipient != recipient || (outcome.Err == nil) != (outcome.Sent != nil) {
			t.Fatalf("%+v", outcome)
		}
	}
	assertError(t, outcomes[1].Err, codes.InvalidArgument, mailroom.ErrRecipientInvalid, "recipient")
	shared(t).assertStored(t, "right", []string{"lunch"}, true)
	_, err = room.Broadcast(t.Context(), slices.Repeat([]string{"a"}, 1001), "lunch", mailroom.Key("broadcast-key"))
	if failure := assertError(t, err, codes.InvalidArgument, mailroom.ErrTooMany, "recipients"); failure.Key != "broadcast-key" {
		t.Fatalf("the key is %q", failure.Key)
	}
}

func TestCheckInboxAcknowledgeAndMarkOffered(t *testing.T) {
	room := shared(t).room(t)
	var ids []string
	for _, content := range []string{"one", "two", "three"} {
		ids = append(ids, send(t, room, "inbox", content).Message.ID)
	}
	if err := room.MarkOffered(t.Context(), "inbox", ids[0]); err != nil {
		t.Fatal(err)
	}
	check := func(wanted []string, more bool, options ...mailroom.InboxOption) {
		t.Helper()
		inbox, err := room.CheckInbox(t.Context(), "inbox", append(options, mailroom.Observe())...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(contentsOf(inbox.Messages), wanted) || inbox.More != more {
			t.Fatalf("%q, more: %v", contentsOf(inbox.Messages), inbox.More)
		}
	}
	check([]string{"one", "two", "three"}, false)
	check([]string{"three", "two"}, true, mailroom.NewestFirst(), mailroom.Limit(2))
	check([]string{"two", "three"}, false, mailroom.NewOnly())
	missing := "0000000000000001"
	acknowledged, unknown, err := room.Acknowledge(t.Context(), "inbox", ids[0], missing)
	if err != nil || !slices.Equal(acknowledged, ids[:1]) || !slices.Equal(unknown, []string{missing}) {
		t.Fatal(acknowledged, unknown, err)
	}
	check([]string{"two", "three"}, false)
	if state := get(t, room, ids[1]).Message.State; state != mailroom.StateFiled {
		t.Fatalf("an observer made it %v", state)
	}
}

func TestAcknowledgeTakesMoreIDsThanOneRequest(t *testing.T) {
	ids := make([]string, 2500)
	for i := range ids {
		ids[i] = fmt.Sprintf("%016x", i+1)
	}
	acknowledged, unknown, err := shared(t).room(t).Acknowledge(t.Context(), "nobody", ids...)
	if err != nil || len(acknowledged) > 0 || !slices.Equal(unknown, ids) {
		t.Fatal(acknowledged, len(unknown), err)
	}
}

func TestCheckInboxWaitsForTheFirstMessage(t *testing.T) {
	room := shared(t).room(t)
	inboxes := make(chan *mailroom.Inbox)
	go func() {
		inbox, _ := room.CheckInbox(context.Background(), "awaited", mailroom.Wait(bound))
		inboxes <- inbox
	}()
	send(t, room, "awaited", "here")
	if inbox := <-inboxes; inbox == nil || !slices.Equal(contentsOf(inbox.Messages), []string{"here"}) {
		t.Fatalf("%+v", inbox)
	}
	inbox, err := room.CheckInbox(t.Context(), "empty", mailroom.Wait(20*time.Millisecond))
	if err != nil || len(inbox.Messages) > 0 || inbox.More {
		t.Fatal(inbox, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if inbox, err = room.CheckInbox(ctx, "empty", mailroom.Wait(time.Hour)); err != nil || len(inbox.Messages) > 0 {
		t.Fatal("a wait that is longer than the deadline ends with it, without an error:", inbox, err)
	}
}

func TestGetReturnsAMessageWithItsHistory(t *testing.T) {
	room := shared(t).room(t)
	id := send(t, room, "tracked", "x").Message.ID
	if _, _, err := room.Acknowledge(t.Context(), "tracked", id); err != nil {
		t.Fatal(err)
	}
	tracked := get(t, room, id)
	if !tracked.Message.Read || tracked.Delivery.State != mailroom.StateRead {
		t.Fatalf("%+v", tracked)
	}
	var states []string
	for _, receipt := range tracked.History {
		if receipt.MessageID != id || receipt.Recipient != "tracked" || receipt.Time.IsZero() {
			t.Fatalf("%+v", receipt)
		}
		states = append(states, receipt.State.String())
	}
	if !slices.Contains(states, "filed") || states[len(states)-1] != "read" {
		t.Fatal(states)
	}
}

func TestListAndSearchFetchPagesOnDemand(t *testing.T) {
	room := shared(t).room(t)
	for i := range 7 {
		send(t, room, "listed", fmt.Sprintf("apple number %d", i), mailroom.Thread(fmt.Sprint("t", i%2)))
	}
	numbers := func(messages []*mailroom.Message, err error) (digits string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range messages {
			digits += message.Content[len(message.Content)-1:]
		}
		return digits
	}
	assertEqual := func(found, wanted string) {
		t.Helper()
		if found != wanted {
			t.Fatalf("%q instead of %q", found, wanted)
		}
	}
	all, err := mailroom.Collect(room.List(t.Context(), "listed", mailroom.PageSize(3)))
	assertEqual(numbers(all, err), "6543210")
	page, err := room.ListPage(t.Context(), "listed", mailroom.PageSize(3))
	if err != nil {
		t.Fatal(err)
	}
	assertEqual(numbers(page.Messages, nil), "654")
	assertEqual(numbers(mailroom.Collect(
		room.List(t.Context(), "listed", mailroom.PageSize(3), mailroom.PageToken(page.NextPageToken)))), "3210")
	assertEqual(numbers(mailroom.Collect(
		room.Search(t.Context(), "apple", mailroom.InMailbox("listed"), mailroom.Thread("t1")))), "531")
	assertEqual(numbers(mailroom.Collect(room.Search(t.Context(), "pear"))), "")
	if _, _, err := room.Acknowledge(t.Context(), "listed", all[0].ID); err != nil {
		t.Fatal(err)
	}
	assertEqual(numbers(mailroom.Collect(room.List(t.Context(), "listed", mailroom.Unread(), mailroom.Matching("number")))), "543210")
	for message := range room.List(t.Context(), "listed", mailroom.PageSize(2)) {
		assertEqual(message.Content, "apple number 6")
		break
	}
}

func TestAgentsAndStatsCount(t *testing.T) {
	room := shared(t).room(t)
	send(t, room, "counted", "x")
	if _, err := room.CheckInbox(t.Context(), "counted"); err != nil {
		t.Fatal(err)
	}
	agents, err := mailroom.Collect(room.Agents(t.Context(), mailroom.Alive(), mailroom.PageSize(1)))
	if err != nil {
		t.Fatal(err)
	}
	index := slices.IndexFunc(agents, func(agent *mailroom.Agent) bool { return agent.Name == "counted" })
	if index < 0 || !agents[index].Alive || agents[index].Unread != 1 || agents[index].LastSeen.IsZero() {
		t.Fatalf("%+v", agents)
	}
	stats, err := mailroom.Collect(room.MailboxStats(t.Context(), "counted"))
	if err != nil || len(stats) != 1 || stats[0].Agent != "counted" || stats[0].Total != 1 || stats[0].Unread != 1 {
		t.Fatal(stats, err)
	}
	all, err := mailroom.Collect(room.MailboxStats(t.Context(), "", mailroom.PageSize(1)))
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	queues, err := mailroom.Collect(room.QueueStats(t.Context(), "counted"))
	if err != nil || len(queues) != 1 || queues[0].Session != "counted" || queues[0].Pending != 1 {
		t.Fatal(queues, err)
	}
}

func TestAListHasASenderAndStatesAndPreviews(t *testing.T) {
	room := shared(t).room(t)
	first := send(t, room, "filtered", "from one", mailroom.From("one"), mailroom.Metadata{"a": 1})
	send(t, room, "filtered", "from the other", mailroom.From("other"))
	if _, _, err := room.AcknowledgeFor(t.Context(), "filtered", "operator", first.Message.ID); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		option mailroom.ListOption
		want   string
	}{
		{mailroom.From("one"), "from one"},
		{mailroom.InStates(mailroom.StateFiled, mailroom.StateOffered), "from the other"},
	} {
		found, err := mailroom.Collect(room.List(t.Context(), "filtered", one.option))
		if err != nil || len(found) != 1 || found[0].Content != one.want {
			t.Fatal(found, err)
		}
	}
	short, err := mailroom.Collect(room.List(t.Context(), "filtered", mailroom.From("one"), mailroom.Preview(4)))
	if err != nil || len(short) != 1 || short[0].Content != "from" || short[0].ContentSize != 8 || len(short[0].Metadata) != 0 {
		t.Fatal(short, err)
	}
	tracked, err := room.Get(t.Context(), first.Message.ID)
	if err != nil || tracked.History[0].By != "" || tracked.History[len(tracked.History)-1].By != "operator" {
		t.Fatal(tracked, err)
	}
}

func TestClearDeletesAMailboxAndItsFiles(t *testing.T) {
	room := shared(t).room(t)
	send(t, room, "cleared", "one")
	send(t, room, "cleared", "two")
	if deleted, err := room.Clear(t.Context(), "cleared"); err != nil || deleted != 2 {
		t.Fatal(deleted, err)
	}
	if deleted, err := room.ClearFor(t.Context(), "cleared", "operator"); err != nil || deleted != 0 {
		t.Fatal(deleted, err)
	}
	shared(t).assertStored(t, "cleared", nil, true)
}

func TestAnAliasLeadsMailToAnAgentUntilItEnds(t *testing.T) {
	room := shared(t).room(t)
	expires, err := room.SetAlias(t.Context(), "permanent", "session-7", mailroom.TTL(time.Minute))
	if err != nil || time.Until(expires) <= 0 || time.Until(expires) > time.Minute {
		t.Fatal(expires, err)
	}
	if recipient := send(t, room, "session-7", "x").Message.Recipient; recipient != "permanent" {
		t.Fatal(recipient)
	}
	if err := room.EndAlias(t.Context(), "permanent", "session-7"); err != nil {
		t.Fatal(err)
	}
	if recipient := send(t, room, "session-7", "y").Message.Recipient; recipient != "session-7" {
		t.Fatal(recipient)
	}
	_, err = room.SetAlias(t.Context(), "permanent", "")
	assertError(t, err, codes.InvalidArgument, mailroom.ErrSessionInvalid, "session")
}

func TestHealthStatusAndMetricsDescribeTheDaemon(t *testing.T) {
	room := shared(t).room(t)
	if healthy, err := room.Healthy(t.Context()); err != nil || !healthy {
		t.Fatal(healthy, err)
	}
	status, err := room.Status(t.Context())
	if err == nil && (status.KeepRead != 24*time.Hour || status.MaxUnread != 100_000) {
		t.Fatal(status)
	}
	if err != nil || strings.Count(status.Version, ".") != 2 || status.StartedAt.IsZero() || len(status.Workers) < 3 {
		t.Fatal(status, err)
	}
	metrics, err := room.Metrics(t.Context())
	if err != nil || !slices.ContainsFunc(metrics, func(metric mailroom.Metric) bool { return metric.Name == "mailroom_sends_total" }) {
		t.Fatal(len(metrics), err)
	}
}

func TestContentArrivesUnchanged(t *testing.T) {
	room := shared(t).room(t)
	large := strings.Repeat("x", 1<<20-4) + "🙂"
	unicode := "\x00\x01\x7f ÄÖ \U0010ffff \u200f\ufeff\uffff\r\n\u2028"
	for _, content := range []string{large, unicode, ""} {
		sent := send(t, room, "content", content)
		if sent.Message.Content != content || get(t, room, sent.Message.ID).Message.Content != content {
			t.Fatalf("%.40q has changed", content)
		}
	}
	_, err := room.Send(t.Context(), "content", large+"x")
	assertError(t, err, codes.InvalidArgument, mailroom.ErrContentTooLarge, "content")
	_, err = room.Send(t.Context(), "content", "\xff")
	assertError(t, err, codes.InvalidArgument, mailroom.ErrRequestMalformed, "content")
}

func TestMetadataArrivesUnchanged(t *testing.T) {
	room := shared(t).room(t)
	deep := func(levels int) mailroom.Metadata {
		object := map[string]any{"end": true}
		for range levels - 1 {
			object = map[string]any{"a": object}
		}
		return object
	}
	same := []mailroom.Metadata{
		{"__proto__": map[string]any{"admin": true}, "": "empty key"},
		{"whole": 9007199254740992.0, "tiny": 5e-324, "negative": -0.5, "large": math.MaxFloat64},
		{"yes": true, "nothing": nil, "list": []any{[]any{}, map[string]any{}, []any{1.0, "ü", nil}}, "text": "\x00🙂"},
		deep(32),
		{},
	}
	for _, metadata := range same {
		sent := send(t, room, "metadata", "x", metadata)
		if arrived := get(t, room, sent.Message.ID).Message.Metadata; !reflect.DeepEqual(arrived, metadata) {
			t.Fatalf("%v instead of %v", arrived, metadata)
		}
	}
	number, name := 7, "n"
	typed := mailroom.Metadata{"ints": []int{1, 2}, "names": map[string]*string{"a": &name, "b": nil}, "pointer": &number, "u": uint8(3)}
	wanted := mailroom.Metadata{"ints": []any{1.0, 2.0}, "names": map[string]any{"a": "n", "b": nil}, "pointer": 7.0, "u": 3.0}
	if arrived := send(t, room, "metadata", "x", typed).Message.Metadata; !reflect.DeepEqual(arrived, wanted) {
		t.Fatalf("%v", arrived)
	}
	_, err := room.Send(t.Context(), "metadata", "x", deep(33))
	assertError(t, err, codes.InvalidArgument, mailroom.ErrMetadataTooDeep, "metadata")
	for _, value := range []any{math.NaN(), math.Inf(1), 1<<53 + 1, uint64(1) << 60, []byte("x"), time.Now(), "\xff", make(chan int)} {
		_, err := room.Send(t.Context(), "metadata", "x", mailroom.Metadata{"value": value})
		assertError(t, err, codes.InvalidArgument, mailroom.ErrMetadataInvalid, "metadata")
	}
	_, err = room.Send(t.Context(), "metadata", "x", mailroom.Metadata{"text": strings.Repeat("x", 65<<10)})
	assertError(t, err, codes.InvalidArgument, mailroom.ErrMetadataTooLarge, "metadata")
	_, err = room.Send(t.Context(), "metadata", "x", mailroom.Metadata{"text": strings.Repeat("x", 20<<20)})
	assertError(t, err, codes.InvalidArgument, mailroom.ErrMetadataTooLarge, "metadata")
}
