import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type Code, type ErrorDetails, MailroomError } from '#dist/errors.js';
import { Backoff, type Contact, Retries } from '#dist/retries.js';

const error = (code: Code, details: ErrorDetails = {}): MailroomError => new MailroomError('it failed', code, details);

/** Retries on a clock that the test moves. */
function retriesOf(contact: Partial<Contact>, timeoutMs = 10_000) {
  const clock = { now: 0 };
  const whole: Contact = {
    address: { text: 'unix:/m.sock', tried: ['/m.sock (ENOENT)'] },
    answered: false,
    ...contact,
  };
  return { clock, contact: whole, retries: new Retries(whole, { graceMs: 2_000, timeoutMs }, () => clock.now) };
}

test('delays double up to two seconds, and are shortened by up to half', () => {
  const longest = new Backoff(() => 0);
  assert.deepEqual(
    Array.from({ length: 8 }, () => longest.next()),
    [50, 100, 200, 400, 800, 1_600, 2_000, 2_000],
  );
  longest.reset();
  assert.equal(longest.next(), 50);
  assert.equal(new Backoff(() => 1).next(), 25);
});

test('only what may succeed later is repeated', () => {
  const codes: [error: MailroomError, isRepeated: boolean][] = [
    [error('UNAVAILABLE', { reason: 'WORKER_RESTARTING' }), true],
    [error('CANCELLED'), true],
    [error('RESOURCE_EXHAUSTED', { reason: 'MAILBOX_FULL', retryAfterMs: 700 }), true],
    [error('RESOURCE_EXHAUSTED'), false],
    [error('DEADLINE_EXCEEDED'), false],
    [error('INVALID_ARGUMENT', { reason: 'RECIPIENT_INVALID' }), false],
    [error('CANCELLED', { reason: 'CLIENT_CLOSED' }), false],
    [error('UNAVAILABLE', { reason: 'TLS_FAILED' }), false],
  ];
  for (const [one, isRepeated] of codes) {
    const { retries } = retriesOf({ answered: true });
    if (isRepeated) assert.ok(retries.delayAfter(one) >= (one.retryAfterMs ?? 0));
    else assert.throws(() => retries.delayAfter(one), one);
  }
});

test('retries end with the timeout', () => {
  const { clock, retries } = retriesOf({ answered: true }, 1_000);
  const busy = error('UNAVAILABLE', { reason: 'STOPPING' });
  retries.delayAfter(busy);
  clock.now = 990;
  assert.equal(retries.remainingMs, 10);
  assert.throws(() => retries.delayAfter(busy), busy);
});

test('a daemon that has never answered is looked for during the grace period', () => {
  const { clock, retries } = retriesOf({});
  retries.delayAfter(error('UNAVAILABLE'));
  clock.now = 1_990;
  const expected = { code: 'UNAVAILABLE', reason: 'DAEMON_NOT_RUNNING', message: /\/m\.sock \(ENOENT\)/ };
  assert.throws(() => retries.delayAfter(error('UNAVAILABLE')), expected);
});

test('a daemon that has answered is waited for until the timeout', () => {
  const { clock, contact, retries } = retriesOf({ answered: true });
  clock.now = 5_000;
  retries.delayAfter(error('UNAVAILABLE'));
  contact.answered = false;
  retries.recordProgress();
  clock.now = 6_000;
  retries.delayAfter(error('UNAVAILABLE'));
});
