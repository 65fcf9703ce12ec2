import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { MailroomError } from 'mailroom-client';

import { Daemon, waitUntil } from './support/daemon.mjs';

describe('concurrent sends of one client', () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await Daemon.start();
  });
  after(() => daemon.end());

  test('are stored in the order of their calls', async () => {
    const room = daemon.room();
    const contents = Array.from({ length: 600 }, (_, index) => `ordered ${index}`);
    const sent = await Promise.all(contents.map((content) => room.send('ordered', content)));
    assert.deepEqual(
      sent.map(({ message }) => message.content),
      contents,
    );
    daemon.assertStored('ordered', contents, { inOrder: true });
  });

  test('return what a single send returns', async () => {
    const room = daemon.room();
    const options = {
      metadata: { build: 7, list: [1, null] },
      priority: 'urgent',
      threadId: 't',
      type: 'note',
    } as const;
    const [, sent] = await Promise.all([room.send('same', 'one'), room.send('same', 'two', options)]);
    const { message } = await room.get(sent.message.id);
    assert.deepEqual({ ...sent.message, state: message.state }, message);
    assert.equal(sent.delivery.state, 'filed');
  });

  test('each have an error of their own, with reason, field and key', async () => {
    const room = daemon.room();
    const sends = ['fine', 'not a name', 'fine'].map((to, index) => room.send(to, `${index}`, { key: `own-${index}` }));
    const [first, second, third] = await Promise.allSettled(sends);
    assert.equal(first?.status, 'fulfilled');
    assert.equal(third?.status, 'fulfilled');
    assert.ok(second?.status === 'rejected' && second.reason instanceof MailroomError);
    const { code, reason, field, key } = second.reason;
    assert.deepEqual([code, reason, field, key], ['INVALID_ARGUMENT', 'RECIPIENT_INVALID', 'recipient', 'own-1']);
  });

  test('with the same key are one message', async () => {
    const room = daemon.room();
    const sends = Array.from({ length: 20 }, () => room.send('once', 'the same', { key: 'a-key-for-all' }));
    const ids = new Set((await Promise.all(sends)).map(({ message }) => message.id));
    assert.equal(ids.size, 1);
    daemon.assertStored('once', ['the same']);
  });

  test('can be aborted one by one', async () => {
    const room = daemon.room();
    const controller = new AbortController();
    const contents = Array.from({ length: 50 }, (_, index) => `kept ${index}`);
    const kept = contents.map((content) => room.send('aborting', content));
    const aborted = room.send('aborted', 'too late', { signal: controller.signal });
    controller.abort(new Error('not needed any more'));
    await assert.rejects(aborted, /not needed any more/);
    await Promise.all(kept);
    daemon.assertStored('aborting', contents);
  });

  test('survive kill -9 of the gateway: nothing is lost or doubled', async () => {
    const room = daemon.room();
    const contents: string[] = [];
    let isOver = false;
    const sendOn = async (): Promise<void> => {
      while (!isOver) {
        const content = `gateway ${contents.length}`;
        contents.push(content);
        await room.send('gateway-killed', content);
      }
    };
    const senders = Array.from({ length: 40 }, sendOn);
    const other = daemon.room();
    for (let round = 1; round <= 2; round += 1) {
      await daemon.killWorker('gateway', other);
      await waitUntil(() => contents.length > round * 100, 'the sends go on');
    }
    isOver = true;
    await Promise.all(senders);
    daemon.assertStored('gateway-killed', contents);
  });

  test('survive kill -9 and a new start of the daemon: nothing is lost or doubled', async () => {
    const room = daemon.room();
    await room.send('daemon-killed', 'gone before');
    const contents = Array.from({ length: 1_000 }, (_, index) => `daemon ${index}`);
    const sends = contents.map((content) => room.send('daemon-killed', content));
    await Promise.race(sends);
    await daemon.stop('SIGKILL');
    await daemon.start();
    await Promise.all(sends);
    daemon.assertStored('daemon-killed', ['gone before', ...contents]);
  });

  test('end at their deadline while the gateway hangs, and later ones pass', async () => {
    const room = daemon.room();
    await room.send('hanging', 'before');
    const gateway = (await room.status()).workers.find(({ name }) => name === 'gateway');
    assert.ok(gateway);
    process.kill(gateway.pid, 'SIGSTOP');
    try {
      const sends = [1, 2, 3].map((index) =>
        room.send('hanging', `hangs ${index}`, { timeoutMs: 200, key: `hang-${index}` }),
      );
      for (const [index, send] of (await Promise.allSettled(sends)).entries()) {
        assert.ok(send.status === 'rejected' && send.reason instanceof MailroomError);
        assert.equal(send.reason.code, 'DEADLINE_EXCEEDED');
        assert.equal(send.reason.key, `hang-${index + 1}`);
      }
    } finally {
      process.kill(gateway.pid, 'SIGCONT');
    }
    const repeated = [1, 2, 3].map((index) => room.send('hanging', `hangs ${index}`, { key: `hang-${index}` }));
    await Promise.all(repeated);
    daemon.assertStored('hanging', ['before', 'hangs 1', 'hangs 2', 'hangs 3']);
  });

  test('end at their deadline while the daemon is away, and say so; later ones pass', async () => {
    const room = daemon.room();
    await room.send('away', 'before');
    await daemon.stop();
    const sends = [1, 2].map((index) => room.send('away', `away ${index}`, { timeoutMs: 400, key: `away-${index}` }));
    for (const send of await Promise.allSettled(sends)) {
      assert.ok(send.status === 'rejected' && send.reason instanceof MailroomError);
      assert.deepEqual([send.reason.code, send.reason.reason], ['UNAVAILABLE', 'DAEMON_NOT_RUNNING']);
      assert.ok(send.reason.retryable && send.reason.key?.startsWith('away-'));
    }
    await daemon.start();
    await Promise.all([1, 2].map((index) => room.send('away', `away ${index}`, { key: `away-${index}` })));
    daemon.assertStored('away', ['before', 'away 1', 'away 2']);
  });
});
