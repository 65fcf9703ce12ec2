import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MailroomError } from '#dist/errors.js';
import { errorFromRpc } from '#dist/failures.js';
import { SendMessageRequest } from '#dist/generated/mailroom/v1/mailroom.js';
import { Listing, type Page } from '#dist/pages.js';
import { aliasRequest, draftRequest, inboxRequest, portions, sizeOf } from '#dist/requests.js';

test('a request is never larger than its estimate', () => {
  const lists = Array.from({ length: 500 }, () => [1, [], {}, 'ü', null]);
  const nested = JSON.parse(`${'{"":['.repeat(15)}1.5${']}'.repeat(15)}`);
  for (const metadata of [undefined, {}, { lists }, nested, { text: '🙂\n'.repeat(999) }, { a: 1, b: true }]) {
    const request = draftRequest({ to: 'a', content: 'ü'.repeat(99), metadata, sender: 'b' }, undefined);
    assert.ok(SendMessageRequest.encode(request).finish().length <= sizeOf(request));
  }
});

test('each send has a key of its own, unless one is given', () => {
  const keys = [1, 2].map(() => draftRequest({ to: 'a', content: 'x' }, 'me').idempotencyKey);
  assert.notEqual(keys[0], keys[1]);
  assert.equal(draftRequest({ to: 'a', content: 'x', key: 'mine' }, 'me').idempotencyKey, 'mine');
});

test('times are milliseconds', () => {
  assert.deepEqual(inboxRequest('a', { waitMs: 1_500.25 }).wait, { seconds: 1, nanos: 500_250_000 });
  assert.deepEqual(aliasRequest('a', 'b', 0).ttl, { seconds: 0, nanos: 0 });
  assert.equal(aliasRequest('a', 'b', undefined).ttl, undefined);
});

test('ids are split into portions of a thousand', () => {
  assert.deepEqual(portions('one'), [['one']]);
  assert.deepEqual(portions([]), []);
  const sizes = portions(Array.from({ length: 2_001 }, (_, index) => `${index}`)).map(({ length }) => length);
  assert.deepEqual(sizes, [1_000, 1_000, 1]);
});

test('a message that gRPC could not carry is refused before it is sent', () => {
  const large = { reason: 'METADATA_TOO_LARGE', field: 'metadata' };
  assert.throws(() => draftRequest({ to: 'a', content: '', metadata: { x: 'x'.repeat(5 << 20) } }, 'me'), large);
  const long = { reason: 'REQUEST_TOO_LARGE' };
  assert.throws(() => draftRequest({ to: 'a', content: '', threadId: 'x'.repeat(5 << 20) }, 'me'), long);
});

test('an error of gRPC itself has no reason, and a broken connection is UNAVAILABLE', () => {
  const cases: [code: number, details: string, becomes: string][] = [
    [14, 'No connection established. Last error: connect ENOENT /m.sock. Resolution note: ', 'UNAVAILABLE'],
    [13, 'Received RST_STREAM with code 2 (Internal server error)', 'UNAVAILABLE'],
    [1, 'Call cancelled', 'UNAVAILABLE'],
    [8, 'Received RST_STREAM with code 11', 'UNAVAILABLE'],
    [8, 'Received message larger than max (9 vs. 8)', 'RESOURCE_EXHAUSTED'],
    [13, 'Response message parsing error: invalid wire type', 'INTERNAL'],
  ];
  for (const [code, details, becomes] of cases) {
    const error = errorFromRpc(Object.assign(new Error(details), { code, details }) as never);
    assert.deepEqual([error.code, error.reason], [becomes, '']);
  }
  const [first] = cases;
  assert.equal(
    errorFromRpc(Object.assign(new Error(), { code: 14, details: first?.[1] }) as never).message,
    'connect ENOENT /m.sock',
  );
});

test('an error becomes JSON without its cause', () => {
  const error = new MailroomError('no', 'NOT_FOUND', { reason: 'MESSAGE_NOT_FOUND', cause: new Error('secret') });
  assert.equal(JSON.stringify(error), '{"code":"NOT_FOUND","reason":"MESSAGE_NOT_FOUND","message":"no"}');
});

test('a listing fetches a page when it is needed', async () => {
  const fetched: string[] = [];
  const fetchPage = async (pageToken: string): Promise<Page<number>> => {
    fetched.push(pageToken);
    return { items: [fetched.length], nextPageToken: fetched.length < 3 ? `${fetched.length}` : '' };
  };
  const listing: Listing<number> = Reflect.construct(Listing, [fetchPage]); // its constructor is internal
  for await (const item of listing) if (item === 2) break;
  assert.deepEqual(fetched, ['', '1']);
  fetched.length = 0;
  assert.deepEqual(await listing.toArray(), [1, 2, 3]);
});
