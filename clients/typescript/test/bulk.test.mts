import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { Draft, SendOutcome } from 'mailroom-client';

import { Daemon, waitUntil } from './support/daemon.mjs';

describe('sendMany', () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await Daemon.start();
  });
  after(() => daemon.end());

  test('yields an outcome for each draft in order, failures included', async () => {
    const room = daemon.room();
    const drafts = Array.from({ length: 1_200 }, (_, index) => ({
      to: index === 600 ? 'not a name' : 'many',
      content: `draft ${index}`,
    }));
    const outcomes: SendOutcome[] = [];
    for await (const outcome of room.sendMany(drafts)) outcomes.push(outcome);
    assert.deepEqual(
      outcomes.map(({ recipient }) => recipient),
      drafts.map(({ to }) => to),
    );
    const [failed, ...others] = outcomes.filter(({ ok }) => !ok);
    assert.ok(failed && !failed.ok && others.length === 0);
    assert.deepEqual([failed.error.code, failed.error.reason], ['INVALID_ARGUMENT', 'RECIPIENT_INVALID']);
    const stored = drafts.filter(({ to }) => to === 'many').map(({ content }) => content);
    daemon.assertStored('many', stored, { inOrder: true });
  });

  test('reports a draft that cannot be sent, and sends the others', async () => {
    const room = daemon.room();
    const contents = ['fine', '\ud800', 'x'.repeat((1 << 20) + 1), 'fine too'];
    const outcomes: string[] = [];
    for await (const outcome of room.sendMany(contents.map((content) => ({ to: 'mixed', content })))) {
      outcomes.push(outcome.ok ? 'sent' : outcome.error.reason);
    }
    assert.deepEqual(outcomes, ['sent', 'REQUEST_MALFORMED', 'CONTENT_TOO_LARGE', 'sent']);
  });

  test('sends a draft of a slow source at once', async () => {
    const room = daemon.room();
    async function* slowly(): AsyncGenerator<Draft> {
      yield { to: 'slow', content: 'first' };
      await waitUntil(() => daemon.inbox('slow').length === 1, 'the first draft is there before the second');
      yield { to: 'slow', content: 'second' };
    }
    const outcomes: boolean[] = [];
    for await (const { ok } of room.sendMany(slowly())) outcomes.push(ok);
    assert.deepEqual(outcomes, [true, true]);
  });

  test('runs a bounded number of drafts ahead, and stops with its consumer', async () => {
    const room = daemon.room();
    let taken = 0;
    let hasEnded = false;
    function* endless(): Generator<Draft> {
      try {
        for (;;) yield { to: 'endless', content: `${taken++}` };
      } finally {
        hasEnded = true;
      }
    }
    for await (const outcome of room.sendMany(endless())) {
      assert.ok(outcome.ok);
      if (outcome.message.content === '9') break;
    }
    assert.ok(hasEnded);
    assert.ok(taken <= 1_011, `${taken} drafts were taken`);
  });

  test('rejects with the reason of its signal, also while the source gives nothing', async () => {
    const room = daemon.room();
    const controller = new AbortController();
    async function* silent(): AsyncGenerator<Draft> {
      yield { to: 'silent', content: 'only' };
      await new Promise(() => undefined);
    }
    const outcomes = room.sendMany(silent(), { signal: controller.signal });
    assert.equal((await outcomes.next()).value?.ok, true);
    const next = outcomes.next();
    controller.abort(new Error('enough'));
    await assert.rejects(next, /enough/);
  });

  test('throws what its source throws', async () => {
    const room = daemon.room();
    async function* broken(): AsyncGenerator<Draft> {
      yield { to: 'broken', content: 'only' };
      throw new Error('no more drafts');
    }
    const outcomes = room.sendMany(broken());
    assert.equal((await outcomes.next()).value?.ok, true);
    await assert.rejects(outcomes.next(), /no more drafts/);
    daemon.assertStored('broken', ['only']);
  });

  test('survives SIGTERM, kill -9 and new starts of the daemon: nothing is lost or doubled', async () => {
    const room = daemon.room();
    const drafts = Array.from({ length: 2_000 }, (_, index) => ({ to: 'restarted', content: `draft ${index}` }));
    const signals = new Map([
      [300, 'SIGKILL'],
      [1_300, 'SIGTERM'],
    ] as const);
    const outcomes: SendOutcome[] = [];
    let restart = Promise.resolve();
    for await (const outcome of room.sendMany(drafts)) {
      outcomes.push(outcome);
      const signal = signals.get(outcomes.length as 300);
      if (signal) restart = restart.then(() => daemon.stop(signal)).then(() => daemon.start());
    }
    await restart;
    assert.ok(outcomes.every(({ ok }) => ok));
    daemon.assertStored(
      'restarted',
      drafts.map(({ content }) => content),
      { inOrder: true },
    );
  });
});
