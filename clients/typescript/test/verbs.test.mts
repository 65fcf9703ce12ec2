import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { type JsonObject, MailroomError } from 'mailroom-client';

import { Daemon } from './support/daemon.mjs';

describe('the verbs', () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await Daemon.start();
  });
  after(() => daemon.end());

  test('send stores a message with all of its fields, as a file too', async () => {
    const room = daemon.room();
    const parent = await room.send('fields', 'first');
    const { message, delivery } = await room.send('fields', 'go', {
      sender: 'other',
      type: 'context_push',
      metadata: { build: 7 },
      threadId: 'thread',
      inReplyTo: parent.message.id,
      priority: 'high',
      ttlMs: 3_600_000,
      replyBy: new Date('2033-01-02T03:04:05.678Z'),
    });
    const { id, timestamp, expiresAt, ...rest } = message;
    assert.match(id, /^[0-9a-f]{16}$/);
    assert.equal(expiresAt?.getTime(), timestamp.getTime() + 3_600_000);
    assert.deepEqual(rest, {
      recipient: 'fields',
      sender: 'other',
      content: 'go',
      type: 'context_push',
      read: false,
      metadata: { build: 7 },
      threadId: 'thread',
      inReplyTo: parent.message.id,
      priority: 'high',
      replyBy: new Date('2033-01-02T03:04:05.678Z'),
      state: 'filed',
      senderVerified: false,
    });
    assert.deepEqual(delivery, { state: 'filed', subscribers: 0, recipientKnown: false });
    const [, file] = daemon.inbox('fields');
    assert.deepEqual([file?.id, file?.from, file?.content], [id, 'other', 'go']);
  });

  test('reply answers in the thread, under the name that the message was sent to, and acknowledges', async () => {
    const room = daemon.room();
    const anonymous = daemon.room();
    const { message } = await room.send('answering', 'question', { threadId: 'talk' });
    const reply = await anonymous.reply(message, 'answer', { sender: 'answering', acknowledge: true });
    const { recipient, sender, threadId, inReplyTo } = reply.message;
    assert.deepEqual([recipient, sender, threadId, inReplyTo], ['tester', 'answering', 'talk', message.id]);
    assert.equal((await room.get(message.id)).message.state, 'read');
    const threadless = await room.send('answering', 'another');
    assert.equal((await room.reply(threadless.message, 'answer')).message.threadId, undefined);
  });

  test('broadcast gives an outcome for each recipient', async () => {
    const outcomes = await daemon.room().broadcast(['left', 'not a name', 'right'], 'lunch');
    const summary = outcomes.map((one) => [one.recipient, one.ok ? one.delivery.state : one.error.reason]);
    assert.deepEqual(summary, [
      ['left', 'filed'],
      ['not a name', 'RECIPIENT_INVALID'],
      ['right', 'filed'],
    ]);
    daemon.assertStored('right', ['lunch']);
  });

  test('checkInbox, acknowledge and markOffered', async () => {
    const room = daemon.room();
    const ids: string[] = [];
    for (const content of ['one', 'two', 'three']) ids.push((await room.send('inbox', content)).message.id);
    await room.markOffered('inbox', ids.slice(0, 1));
    const contents = async (options: object): Promise<string[]> =>
      (await room.checkInbox('inbox', { observe: true, ...options })).messages.map(({ content }) => content);
    assert.deepEqual(await contents({}), ['one', 'two', 'three']);
    assert.deepEqual(await contents({ newestFirst: true, limit: 2 }), ['three', 'two']);
    assert.deepEqual(await contents({ newOnly: true }), ['two', 'three']);
    assert.equal((await room.checkInbox('inbox', { limit: 2, observe: true })).more, true);
    const unknown = '0000000000000001';
    assert.deepEqual(await room.acknowledge('inbox', [ids[0] ?? '', unknown]), {
      acknowledged: [ids[0]],
      unknown: [unknown],
    });
    assert.deepEqual(await contents({}), ['two', 'three']);
    daemon.assertStored('nobody', []);
  });

  test('acknowledge takes more ids than one request does', async () => {
    const ids = Array.from({ length: 2_500 }, (_, index) => (index + 1).toString(16).padStart(16, '0'));
    const { acknowledged, unknown } = await daemon.room().acknowledge('nobody', ids);
    assert.deepEqual([acknowledged, unknown], [[], ids]);
  });

  test('checkInbox waits for the first message', async () => {
    const room = daemon.room();
    const waiting = room.checkInbox('awaited', { waitMs: 60_000 });
    await room.send('awaited', 'here');
    const { messages } = await waiting;
    assert.deepEqual(
      messages.map(({ content }) => content),
      ['here'],
    );
    assert.deepEqual(await room.checkInbox('empty', { waitMs: 50 }), { messages: [], more: false });
  });

  test('get returns a message with its history', async () => {
    const room = daemon.room();
    const { message } = await room.send('tracked', 'x');
    await room.acknowledge('tracked', message.id);
    const tracked = await room.get(message.id);
    assert.equal(tracked.message.read, true);
    assert.equal(tracked.delivery.state, 'read');
    const states = tracked.history.map(({ state }) => state);
    assert.ok(states.includes('filed') && states.at(-1) === 'read', states.join());
    assert.ok(tracked.history.every(({ messageId, recipient }) => messageId === message.id && recipient === 'tracked'));
  });

  test('list and search fetch pages while they are iterated over', async () => {
    const room = daemon.room();
    for (let index = 0; index < 7; index += 1)
      await room.send('listed', `apple number ${index}`, { threadId: `t${index % 2}` });
    const listed = await room.list('listed', { pageSize: 3 }).toArray();
    const numbers = (messages: { content: string }[]): number[] =>
      messages.map(({ content }) => Number(content.slice(-1)));
    assert.deepEqual(numbers(listed), [6, 5, 4, 3, 2, 1, 0]);
    const pages = [];
    for await (const page of room.list('listed', { pageSize: 3 }).pages()) pages.push(page);
    assert.deepEqual(
      pages.map(({ items }) => items.length),
      [3, 3, 1],
    );
    const second = await room.list('listed', { pageSize: 3, pageToken: pages[0]?.nextPageToken }).toArray();
    assert.deepEqual(numbers(second), [3, 2, 1, 0]);
    assert.deepEqual(numbers(await room.search('apple', { agent: 'listed', threadId: 't1' }).toArray()), [5, 3, 1]);
    assert.deepEqual(await room.search('pear').toArray(), []);
    await room.acknowledge('listed', listed[0]?.id ?? '');
    assert.equal((await room.list('listed', { unreadOnly: true, query: 'number' }).toArray()).length, 6);
  });

  test('agents, mailboxStats and queueStats count', async () => {
    const room = daemon.room({ sender: 'counter' });
    await room.send('counted', 'x');
    await room.checkInbox('counted');
    const agents = await room.agents({ aliveOnly: true, pageSize: 1 }).toArray();
    assert.deepEqual(
      agents.find(({ name }) => name === 'counted'),
      {
        name: 'counted',
        alive: true,
        lastSeen: agents.find(({ name }) => name === 'counted')?.lastSeen,
        subscribers: 0,
        unread: 1,
        sessions: [],
      },
    );
    const [stats] = await room.mailboxStats('counted').toArray();
    assert.deepEqual([stats?.agent, stats?.total, stats?.unread], ['counted', 1, 1]);
    assert.ok((await room.mailboxStats(undefined, { pageSize: 1 }).toArray()).length > 1);
    const [queue] = await room.queueStats('counted').toArray();
    assert.deepEqual([queue?.session, queue?.pending], ['counted', 1]);
    await room.send('counted-too', 'x');
    const pages = [];
    for await (const page of room.queueStats('', { pageSize: 1 }).pages()) pages.push(page);
    assert.ok(pages.length > 1 && pages.every(({ items }) => items.length === 1));
  });

  test('list filters by sender and state, and shortens contents', async () => {
    const room = daemon.room();
    const first = await room.send('filtered', 'from one', { sender: 'one', metadata: { a: 1 } });
    await room.send('filtered', 'from the other', { sender: 'other' });
    await room.acknowledge('filtered', first.message.id, { by: 'operator' });
    const contents = async (options: Parameters<typeof room.list>[1]) =>
      (await room.list('filtered', options).toArray()).map(({ content }) => content);
    assert.deepEqual(await contents({ sender: 'one' }), ['from one']);
    assert.deepEqual(await contents({ states: ['filed', 'offered'] }), ['from the other']);
    const [short] = await room.list('filtered', { sender: 'one', previewBytes: 4 }).toArray();
    assert.deepEqual([short?.content, short?.contentSize, short?.metadata], ['from', 8, {}]);
    const history = (await room.get(first.message.id)).history;
    assert.deepEqual([history.at(-1)?.state, history.at(-1)?.by, history[0]?.by], ['read', 'operator', undefined]);
    const wrong = room.list('filtered', { states: ['gone' as 'read'] }).toArray();
    await assert.rejects(wrong, { reason: 'REQUEST_MALFORMED' });
  });

  test('traffic counts who sends how much to whom', async () => {
    const room = daemon.room();
    for (const content of ['x', 'y']) await room.send('busy', content, { sender: 'talkative' });
    const { pairs, since, messages } = await room.traffic({ periodMs: 60_000 });
    assert.deepEqual(
      pairs.find(({ sender }) => sender === 'talkative'),
      { sender: 'talkative', recipient: 'busy', messages: 2 },
    );
    assert.ok(messages >= 2 && since !== undefined && since.getTime() < Date.now());
    await assert.rejects(room.traffic({ periodMs: -1 }), { reason: 'LIMIT_INVALID' });
  });

  test('clear deletes a mailbox and its files', async () => {
    const room = daemon.room();
    await Promise.all([room.send('cleared', 'one'), room.send('cleared', 'two')]);
    assert.equal(await room.clear('cleared', { by: 'operator' }), 2);
    daemon.assertStored('cleared', []);
  });

  test('setAlias leads mail to an agent until endAlias', async () => {
    const room = daemon.room();
    const expiresAt = await room.setAlias('permanent', 'session-7', { ttlMs: 60_000 });
    assert.ok(expiresAt && expiresAt.getTime() > Date.now());
    assert.equal((await room.send('session-7', 'x')).message.recipient, 'permanent');
    await room.endAlias('permanent', 'session-7');
    assert.equal((await room.send('session-7', 'y')).message.recipient, 'session-7');
  });

  test('health, status and metrics describe the daemon', async () => {
    const room = daemon.room();
    assert.equal(await room.health(), 'serving');
    const status = await room.status();
    assert.match(status.version, /^\d+\.\d+\.\d+/);
    assert.ok(status.startedAt instanceof Date);
    assert.deepEqual([status.keepReadMs, status.maxUnread], [24 * 3_600_000, 100_000]);
    assert.ok(status.workers.some(({ name, state }) => name === 'gateway' && state === 'running'));
    const metrics = await room.metrics();
    assert.ok(
      metrics.some(({ name, labels, value }) => name.startsWith('mailroom_') && labels && Number.isFinite(value)),
    );
  });

  test('content arrives unchanged: 1 MiB, and all of Unicode', async () => {
    const room = daemon.room();
    const large = `${'x'.repeat((1 << 20) - 4)}🙂`;
    const unicode = `\0\u0001\u007f ÄÖ ${String.fromCodePoint(0x10ffff)} \u200f\ufeff\uffff\r\n\u2028`;
    for (const content of [large, unicode, '']) {
      const { message } = await room.send('content', content);
      assert.equal((await room.get(message.id)).message.content, content);
    }
    await assert.rejects(room.send('content', `${large}x`), { reason: 'CONTENT_TOO_LARGE', field: 'content' });
    await assert.rejects(room.send('content', '\udfff'), { reason: 'REQUEST_MALFORMED', field: 'content' });
  });

  test('metadata arrives unchanged', async () => {
    const room = daemon.room();
    const deep = (levels: number): JsonObject => (levels === 1 ? { end: true } : { a: deep(levels - 1) });
    const proto = JSON.parse('{"__proto__": {"admin": true}, "constructor": 1, "": "empty key"}') as JsonObject;
    const numbers = { whole: 2 ** 53, tiny: 5e-324, negative: -0.5, large: 1.7976931348623157e308 };
    const values = { yes: true, no: false, nothing: null, list: [[], {}, [1, 'ü', null]], text: '\0🙂' };
    for (const metadata of [proto, numbers, values, deep(32), {}]) {
      const { message } = await room.send('metadata', 'x', { metadata });
      assert.deepEqual(message.metadata, metadata);
      const arrived = (await room.get(message.id)).message.metadata;
      assert.deepEqual(arrived, metadata);
      assert.equal(Object.hasOwn(arrived, '__proto__'), Object.hasOwn(metadata, '__proto__'));
      assert.equal(Object.getPrototypeOf(arrived), Object.prototype);
    }
    const { message } = await room.send('metadata', 'x', { metadata: { kept: 1, dropped: undefined } });
    assert.deepEqual(message.metadata, { kept: 1 });
    await assert.rejects(room.send('metadata', 'x', { metadata: deep(33) }), { reason: 'METADATA_TOO_DEEP' });
    for (const value of [Number.NaN, 1n, new Date(), () => 1, '\ud800', [undefined]]) {
      await assert.rejects(room.send('metadata', 'x', { metadata: { value } }), { reason: 'METADATA_INVALID' });
    }
    const large = { text: 'x'.repeat(65 << 10) };
    await assert.rejects(room.send('metadata', 'x', { metadata: large }), {
      reason: 'METADATA_TOO_LARGE',
      field: 'metadata',
    });
  });

  test('errors say what is wrong, with code, reason and field', async () => {
    const room = daemon.room();
    const failures: [call: () => Promise<unknown>, code: string, reason: string, field?: string][] = [
      [() => room.get('0000000000000001'), 'NOT_FOUND', 'MESSAGE_NOT_FOUND'],
      [() => room.get('x'), 'INVALID_ARGUMENT', 'MESSAGE_ID_INVALID', 'id'],
      [() => room.checkInbox('a b'), 'INVALID_ARGUMENT', 'AGENT_INVALID', 'agent'],
      [() => room.send('a b', 'x'), 'INVALID_ARGUMENT', 'RECIPIENT_INVALID', 'recipient'],
      [() => room.send('a', 'x', { ttlMs: -1 }), 'INVALID_ARGUMENT', 'TTL_INVALID', 'ttl'],
      [() => room.send('a', 'x', { ttlMs: Number.NaN }), 'INVALID_ARGUMENT', 'TTL_INVALID', 'ttl'],
      [
        () => room.send('a', 'x', { replyBy: new Date(Number.NaN) }),
        'INVALID_ARGUMENT',
        'REPLY_BY_INVALID',
        'reply_by',
      ],
      [() => room.send('a', 'x', { replyBy: new Date(-1) }), 'INVALID_ARGUMENT', 'REPLY_BY_INVALID', 'reply_by'],
      [() => room.send('a', 'x', { key: 'ü' }), 'INVALID_ARGUMENT', 'IDEMPOTENCY_KEY_INVALID', 'idempotency_key'],
      [() => room.send('a', 'x', { priority: 'soon' as 'low' }), 'INVALID_ARGUMENT', 'PRIORITY_INVALID', 'priority'],
      [() => room.list('a', { pageToken: 'x' }).toArray(), 'INVALID_ARGUMENT', 'PAGE_TOKEN_INVALID', 'page_token'],
      [() => room.checkInbox('a', { timeoutMs: Number.NaN }), 'INVALID_ARGUMENT', 'TIMEOUT_INVALID', 'timeoutMs'],
    ];
    for (const [call, code, reason, field] of failures) {
      const error = await call().then(
        () => undefined,
        (caught) => caught,
      );
      assert.ok(error instanceof MailroomError, `${reason} is raised`);
      assert.deepEqual([error.code, error.reason, error.field, error.retryable], [code, reason, field, false]);
      assert.ok(error.message.length > 10 && error instanceof Error);
    }
  });

  test('a key that was used for another message is refused', async () => {
    const room = daemon.room();
    await room.send('keyed', 'one', { key: 'used' });
    await assert.rejects(room.send('keyed', 'two', { key: 'used' }), {
      code: 'ALREADY_EXISTS',
      reason: 'IDEMPOTENCY_KEY_REUSED',
      key: 'used',
    });
  });

  test('a call ends at its deadline, and with its signal', async () => {
    const room = daemon.room();
    const gateway = (await room.status()).workers.find(({ name }) => name === 'gateway');
    assert.ok(gateway);
    process.kill(gateway.pid, 'SIGSTOP');
    try {
      await assert.rejects(room.checkInbox('late', { timeoutMs: 200 }), { code: 'DEADLINE_EXCEEDED', retryable: true });
      const controller = new AbortController();
      const aborted = room.get('0000000000000001', { signal: controller.signal });
      setTimeout(() => controller.abort(new Error('enough')), 50);
      await assert.rejects(aborted, /enough/);
      await assert.rejects(room.agents({ signal: AbortSignal.abort() }).toArray(), { name: 'AbortError' });
    } finally {
      process.kill(gateway.pid, 'SIGCONT');
    }
  });

  test('a closed client refuses calls, and ends those that run', async () => {
    const room = daemon.room();
    const waiting = room.checkInbox('closing', { waitMs: 60_000 });
    await room.health();
    await room.close();
    await assert.rejects(waiting, { reason: 'CLIENT_CLOSED' });
    await assert.rejects(room.send('closing', 'x'), { reason: 'CLIENT_CLOSED', retryable: false });
    await assert.rejects(room.health(), { reason: 'CLIENT_CLOSED' });
  });

  test('a client without a name cannot send', async () => {
    const room = daemon.room({ sender: undefined });
    assert.equal(room.sender, undefined);
    await assert.rejects(room.send('a', 'x'), { reason: 'SENDER_INVALID', field: 'sender' });
    assert.equal((await room.send('a', 'x', { sender: 'named' })).message.sender, 'named');
  });
});
