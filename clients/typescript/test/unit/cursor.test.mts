import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BEGINNING, Cursor } from '#dist/cursor.js';

test('a live subscription resumes where it caught up', () => {
  const cursor = new Cursor();
  assert.equal(cursor.after, undefined);
  cursor.recordCaughtUp('05');
  assert.equal(cursor.after, '05');
});

test('an event moves the place, and is admitted once', () => {
  const cursor = new Cursor({ after: '03' });
  assert.deepEqual(
    ['03', '04', '04', '05', '04'].map((id) => cursor.admit(id)),
    [false, true, false, true, false],
  );
  assert.equal(cursor.after, '05');
});

test('a replay of unread messages is requested again until it is over', () => {
  const cursor = new Cursor({ unread: true });
  assert.ok(cursor.admit('07') && cursor.admit('09'));
  cursor.recordGoingAway('09');
  assert.deepEqual([cursor.unread, cursor.after], [true, undefined]);
  assert.deepEqual([cursor.admit('07'), cursor.admit('08'), cursor.admit('09')], [false, true, false]);
  cursor.recordCaughtUp('06');
  assert.deepEqual([cursor.unread, cursor.after], [false, '09']);
});

test('a place that the daemon never issued is given up', () => {
  const cursor = new Cursor({ after: '7f' });
  cursor.recordCaughtUp('05');
  assert.equal(cursor.after, '05');
  cursor.recordCaughtUp('');
  assert.equal(cursor.after, BEGINNING);
});

test('a stopping daemon moves the place forwards only', () => {
  const cursor = new Cursor({ after: '05' });
  cursor.recordGoingAway('04');
  assert.equal(cursor.after, '05');
  cursor.recordGoingAway('06');
  assert.equal(cursor.after, '06');
});
