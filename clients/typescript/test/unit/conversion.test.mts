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
