import assert from 'node:assert/strict';
import { test } from 'node:test';

import { trackedFrom } from '#dist/conversion.js';
import { GetMessageResponse } from '#dist/generated/mailroom/v1/mailroom.js';

test('a delivery says why another host has returned the message, and nothing otherwise', () => {
  const delivered = (reason: string) =>
    trackedFrom(GetMessageResponse.fromPartial({ message: { id: '1a', state: 7 }, delivery: { state: 7, reason } }))
      .delivery;
  assert.equal(delivered('MAILBOX_FULL: bob has no room').reason, 'MAILBOX_FULL: bob has no room');
  assert.equal('reason' in delivered(''), false);
});

test('a step of the history says why the message was returned, and nothing otherwise', () => {
  const history = [{ state: 1 }, { state: 7, reason: 'MAILBOX_FULL: bob has no room' }];
  const tracked = trackedFrom(
    GetMessageResponse.fromPartial({ message: { id: '1a', state: 7 }, delivery: {}, history }),
  );
  assert.deepEqual(
    tracked.history.map((step) => ['reason' in step, step.reason]),
    [
      [false, undefined],
      [true, 'MAILBOX_FULL: bob has no room'],
    ],
  );
});
