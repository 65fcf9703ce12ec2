import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Event, Mailroom, MailroomError, Message, Subscription } from 'mailroom-client';

import { Daemon } from './support/daemon.mjs';

/** Reads messages from a subscription until it has read this many. */
async function readMessages(subscription: Subscription, count: number): Promise<Message[]> {
  const messages: Message[] = [];
  while (messages.length < count) {
    const { value: event } = await subscription.next();
    assert.ok(event, 'the subscription goes on');
    if (event.kind === 'message') messages.push(event.message);
  }
  return messages;
}

/** Sends while something happens, and goes on a little; returns what was sent, in order. */
async function sendDuring(room: Mailroom, to: string, happening: () => Promise<void>): Promise<string[]> {
  const contents: string[] = [];
  let isOver = false;
  const happened = happening().finally(() => {
    isOver = true;
  });
  for (let rest = 20; rest > 0; rest -= isOver ? 1 : 0) {
    const content = `${to} ${contents.length}`;
    await room.send(to, content);
    contents.push(content);
  }
  await happened;
  return contents;
}

describe('subscribe', () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await Daemon.start();
  });
  after(() => daemon.end());

  async function assertResumes(agent: string, happening: () => Promise<void>): Promise<void> {
    const errors: MailroomError[] = [];
    const subscription = daemon.room().subscribe(agent, { onInterrupted: (error) => errors.push(error) });
    await subscription.ready();
    const sending = sendDuring(daemon.room(), agent, happening);
    const received: string[] = [];
    const receiving = (async () => {
      for await (const event of subscription) if (event.kind === 'message') received.push(event.message.content);
    })();
    const sent = await sending;
    await daemon.room().send(agent, 'the last one');
    while (received.at(-1) !== 'the last one') await new Promise((resolve) => setTimeout(resolve, 10));
    subscription.close();
    await receiving;
    assert.deepEqual(received, [...sent, 'the last one']);
    assert.ok(errors.length > 0, 'the stream broke');
    assert.ok(
      errors.every(({ retryable }) => retryable),
      'and could be resumed',
    );
  }

  test('resumes over kill -9 of the gateway without gap or repeat', async () => {
    await assertResumes('gateway-killed', () => daemon.killWorker('gateway', daemon.room()));
  });

  test('resumes over SIGTERM and a new start without gap or repeat', async () => {
    await assertResumes('terminated', async () => {
      await daemon.stop('SIGTERM');
      await daemon.start();
    });
  });

  test('resumes over kill -9 of the daemon and a new start without gap or repeat', async () => {
    await assertResumes('daemon-killed', async () => {
      await daemon.stop('SIGKILL');
      await daemon.start();
    });
  });

  test('starts with what comes next, and says that it is live', async () => {
    const room = daemon.room();
    await room.send('live', 'before');
    const subscription = room.subscribe('live');
    await subscription.ready();
    await room.send('live', 'after');
    const first = await subscription.next();
    assert.equal(first.value?.kind, 'caughtUp');
    const [message] = await readMessages(subscription, 1);
    assert.equal(message?.content, 'after');
    assert.equal(subscription.place, message?.id);
    subscription.close();
  });

  test('starts after an event, or from the beginning', async () => {
    const room = daemon.room();
    const ids: string[] = [];
    for (const content of ['one', 'two', 'three']) ids.push((await room.send('replayed', content)).message.id);
    const rest = await readMessages(room.subscribe('replayed', { after: ids[0] ?? '' }), 2);
    assert.deepEqual(
      rest.map(({ content }) => content),
      ['two', 'three'],
    );
    const all = await readMessages(room.subscribe('replayed', { after: '0'.repeat(16) }), 3);
    assert.deepEqual(
      all.map(({ id }) => id),
      ids,
    );
  });

  test('starts with the unread messages', async () => {
    const room = daemon.room();
    const read = await room.send('unread', 'read');
    await room.send('unread', 'unread');
    await room.acknowledge('unread', read.message.id);
    const kinds: string[] = [];
    for await (const event of room.subscribe('unread', { unread: true })) {
      kinds.push(event.kind === 'message' ? event.message.content : event.kind);
      if (event.kind === 'caughtUp') break;
    }
    assert.deepEqual(kinds, ['unread', 'caughtUp']);
  });

  test('marks messages offered, unless it observes', async () => {
    const room = daemon.room();
    const { message } = await room.send('offered', 'look');
    await readMessages(room.subscribe('offered', { unread: true, observe: true }), 1);
    assert.equal((await room.get(message.id)).message.state, 'filed');
    for await (const event of room.subscribe('offered', { unread: true })) if (event.kind === 'caughtUp') break;
    const subscription = room.subscribe('tester', { after: message.id, receipts: true });
    const states: string[] = [];
    for await (const event of subscription) {
      if (event.kind !== 'receipt' || event.receipt.messageId !== message.id) continue;
      states.push(event.receipt.state);
      if (event.receipt.state === 'offered') break;
    }
    assert.equal(states.at(-1), 'offered');
  });

  test('yields receipts of the messages that the agent sent', async () => {
    const room = daemon.room({ sender: 'author' });
    const subscription = room.subscribe('author', { receipts: true });
    await subscription.ready();
    const { message } = await room.send('reader', 'please read');
    await room.acknowledge('reader', message.id);
    for await (const event of subscription) {
      if (event.kind !== 'receipt') continue;
      assert.equal(event.receipt.messageId, message.id);
      assert.equal(event.receipt.recipient, 'reader');
      assert.ok(event.receipt.timestamp instanceof Date);
      if (event.receipt.state === 'read') break;
    }
  });

  test('yields one receipt if there is no answer in time', async () => {
    const room = daemon.room({ sender: 'asker' });
    const subscription = room.subscribe('asker', { receipts: true });
    await subscription.ready();
    const { message } = await room.send('silent', 'and?', { replyBy: new Date(Date.now() - 1_000) });
    for await (const event of subscription) {
      if (event.kind !== 'receipt') continue;
      assert.equal(event.receipt.messageId, message.id);
      if (event.receipt.state === 'overdue') break;
    }
  });

  test('yields responses from an outbox, also large ones', async () => {
    const subscription = daemon.room().subscribe('session-1');
    await subscription.ready();
    const directory = join(daemon.root, 'outbox', 'session-1');
    mkdirSync(directory, { recursive: true });
    const bodies = [
      ['small.json', { done: true, list: [1, null, 'x'] }],
      ['large.json', { text: 'ü'.repeat(600_000) }],
    ] as const;
    for (const [name, body] of bodies) {
      writeFileSync(join(directory, `.${name}`), JSON.stringify(body));
      renameSync(join(directory, `.${name}`), join(directory, name));
    }
    const found = new Map<string, unknown>();
    for await (const event of subscription) {
      if (event.kind !== 'response') continue;
      assert.equal(event.response.sessionId, 'session-1');
      found.set(event.response.fileName, event.response.body);
      if (found.size === 2) break;
    }
    assert.deepEqual(found, new Map<string, unknown>(bodies));
  });

  test('of all agents yields the messages of every mailbox', async () => {
    const room = daemon.room();
    const subscription = room.subscribeAll();
    await subscription.ready();
    await room.send('first-of-all', '1');
    await room.send('second-of-all', '2');
    const messages = await readMessages(subscription, 2);
    assert.deepEqual(
      messages.map(({ recipient }) => recipient),
      ['first-of-all', 'second-of-all'],
    );
    subscription.close();
    const short = room.subscribeAll({ previewBytes: 4 });
    await short.ready();
    await room.send('first-of-all', '1234 and more', { metadata: { a: 1 } });
    const [preview] = await readMessages(short, 1);
    assert.deepEqual([preview?.content, preview?.contentSize, preview?.metadata], ['1234', 13, {}]);
    short.close();
  });

  test('throws the reason of its signal', async () => {
    const controller = new AbortController();
    const subscription = daemon.room().subscribe('aborted', { signal: controller.signal });
    await subscription.ready();
    await subscription.next();
    const next = subscription.next();
    controller.abort(new Error('enough'));
    await assert.rejects(next, /enough/);
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
  });

  test('ends when it is closed, and when its client is', async () => {
    const room = daemon.room();
    const events: Event[] = [];
    const read = async (subscription: Subscription): Promise<void> => {
      for await (const event of subscription) events.push(event);
    };
    const closed = room.subscribe('closed');
    const dropped = room.subscribe('closed');
    await Promise.all([closed.ready(), dropped.ready()]);
    const reading = [read(closed), read(dropped)];
    closed.close();
    await room.close();
    await Promise.all(reading);
    assert.ok(events.every(({ kind }) => kind === 'caughtUp'));
  });

  test('fails for good where the request is wrong', async () => {
    const wrong = daemon.room().subscribe('wrong', { after: 'no place' });
    await assert.rejects(wrong.ready(), { code: 'INVALID_ARGUMENT', reason: 'AFTER_ID_INVALID', field: 'after_id' });
    const both = daemon.room().subscribe('wrong', { after: '0'.repeat(16), unread: true });
    await assert.rejects(both.next(), { code: 'INVALID_ARGUMENT', reason: 'OPTIONS_CONFLICT' });
  });
});
