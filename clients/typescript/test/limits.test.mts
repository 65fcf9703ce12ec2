import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { MailroomError } from 'mailroom-client';

import { Daemon } from './support/daemon.mjs';

describe('with a daemon that allows one stream, and two unread messages a mailbox', () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await Daemon.start('--owner-streams', '1', '--max-unread', '2');
  });
  after(() => daemon.end());

  test('concurrent sends leave no stream open', async () => {
    const room = daemon.room();
    await Promise.all([room.send('quiet', 'one'), room.send('silent', 'two')]);
    const subscription = room.subscribe('quiet');
    await subscription.ready();
    subscription.close();
  });

  test('concurrent sends pass while a subscription has the only stream', async () => {
    const room = daemon.room();
    const subscription = room.subscribe('busy');
    await subscription.ready();
    await Promise.all([room.send('busy', 'one'), room.send('busy', 'two')]);
    daemon.assertStored('busy', ['one', 'two']);
    subscription.close();
  });

  test('a send to a full mailbox fails with a delay once its time is over', async () => {
    const room = daemon.room();
    await Promise.all([room.send('full', 'one'), room.send('full', 'two')]);
    const error = await room.send('full', 'three', { timeoutMs: 500 }).catch((reason) => reason);
    assert.ok(error instanceof MailroomError);
    assert.deepEqual([error.code, error.reason, error.retryable], ['RESOURCE_EXHAUSTED', 'MAILBOX_FULL', true]);
    assert.ok(error.retryAfterMs !== undefined && error.retryAfterMs > 0);
    daemon.assertStored('full', ['one', 'two']);
  });

  test('a send that failed can be repeated with its key once the mailbox has room', async () => {
    const room = daemon.room();
    const [first] = await Promise.all([room.send('again', 'one'), room.send('again', 'two')]);
    const error = await room.send('again', 'three', { timeoutMs: 500 }).catch((reason) => reason);
    assert.ok(error instanceof MailroomError && error.key !== undefined);
    await room.acknowledge('again', first.message.id);
    await Promise.all([1, 2].map(() => room.send('again', 'three', { key: error.key })));
    assert.deepEqual(
      daemon.inbox('again').map(({ content }) => content),
      ['two', 'three'],
    );
  });

  test('a bulk send reports a full mailbox, and goes on', async () => {
    const room = daemon.room();
    const drafts = ['one', 'two', 'three'].map((content) => ({ to: 'filled', content }));
    const outcomes = [];
    for await (const outcome of room.sendMany([...drafts, { to: 'beside', content: 'four' }])) outcomes.push(outcome);
    const summary = outcomes.map((outcome) => (outcome.ok ? outcome.message.content : outcome.error.reason));
    assert.deepEqual(summary, ['one', 'two', 'MAILBOX_FULL', 'four']);
  });
});
