import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { type handleBidiStreamingCall, status } from '@grpc/grpc-js';
import { Mailroom } from 'mailroom-client';

import {
  SendMessagesRequest,
  SendMessagesResponse,
  SubscribeRequest,
  SubscribeResponse,
} from '#dist/generated/mailroom/v1/mailroom.js';

import { waitUntil } from './support/daemon.mjs';
import { type Behaviour, bareError, StrangeDaemon } from './support/strange.mjs';

type Exchange = handleBidiStreamingCall<Buffer, Buffer>;

async function withRoom(behaviour: Behaviour, use: (room: Mailroom) => Promise<void>): Promise<void> {
  const daemon = await StrangeDaemon.start(behaviour);
  const room = new Mailroom({ address: daemon.address, sender: 'tester', timeoutMs: 20_000 });
  try {
    await use(room);
  } finally {
    await room.close();
    daemon.end();
  }
}

const id = (number: number): string => number.toString(16).padStart(16, '0');

function message(number: number): Buffer {
  const value = { id: id(number), content: `${number}` };
  return encoded({ event: { $case: 'message', value }, eventId: id(number) });
}

function caughtUp(number: number): Buffer {
  return encoded({ event: { $case: 'caughtUp', value: { lastId: id(number) } }, eventId: id(number) });
}

function encoded(response: Parameters<typeof SubscribeResponse.fromPartial>[0]): Buffer {
  return Buffer.from(SubscribeResponse.encode(SubscribeResponse.fromPartial(response)).finish());
}

function goingAway(number: number): Buffer {
  return encoded({ event: { $case: 'goingAway', value: { lastId: id(number) } }, eventId: id(number) });
}

/** An event of a kind that the contract does not have (field 99), with a place. */
function unknownEvent(number: number): Buffer {
  const field99 = Buffer.from([0x9a, 0x06, 0x03, 0x0a, 0x01, 0x78]);
  return Buffer.concat([field99, encoded({ eventId: id(number) })]);
}

describe('with daemons that this client does not know', () => {
  test('unknown events and fields are passed over, and the place moves on', async () => {
    const requests: SubscribeRequest[] = [];
    const subscribe = (call: { request: Buffer; write(response: Buffer): boolean; end(): void }): void => {
      requests.push(SubscribeRequest.decode(call.request));
      if (requests.length > 1) {
        call.write(caughtUp(4));
        call.write(message(5));
        return;
      }
      call.write(caughtUp(1));
      call.write(Buffer.concat([message(2), Buffer.from([0x98, 0x06, 0x01])]));
      call.write(unknownEvent(3));
      call.end(); // as a daemon that stops: with OK
    };
    await withRoom({ stream: { Subscribe: subscribe } }, async (room) => {
      const contents: string[] = [];
      for await (const event of room.subscribe('a')) {
        contents.push(event.kind === 'message' ? event.message.content : event.kind);
        if (contents.at(-1) === '5') break;
      }
      assert.deepEqual(contents, ['caughtUp', '2', 'caughtUp', '5']);
    });
    assert.deepEqual(
      requests.map(({ afterId }) => afterId),
      ['', id(3)],
    );
  });

  test('an event that comes twice is yielded once', async () => {
    const streams = [
      [message(2), message(3)],
      [message(3), caughtUp(3), message(4)],
    ];
    const subscribe = (call: { write(response: Buffer): boolean; end(): void }): void => {
      for (const response of streams.shift() ?? []) call.write(response);
      if (streams.length > 0) call.end();
    };
    await withRoom({ stream: { Subscribe: subscribe } }, async (room) => {
      const contents: string[] = [];
      for await (const event of room.subscribe('a', { after: id(0) })) {
        if (event.kind === 'message') contents.push(event.message.content);
        if (contents.at(-1) === '4') break;
      }
      assert.deepEqual(contents, ['2', '3', '4']);
    });
  });

  test('events that come in batches are yielded one by one', async () => {
    const batch = (...responses: Buffer[]): Buffer => {
      const events = responses.map((response) => SubscribeResponse.decode(response));
      return encoded({ eventId: events.at(-1)?.eventId ?? '', events });
    };
    const streams = [
      [batch(message(2), unknownEvent(3), message(4), goingAway(4))],
      [batch(message(4), caughtUp(4)), batch(message(5), message(6))],
    ];
    const requests: SubscribeRequest[] = [];
    const subscribe = (call: { request: Buffer; write(response: Buffer): boolean; end(): void }): void => {
      requests.push(SubscribeRequest.decode(call.request));
      for (const response of streams.shift() ?? []) call.write(response);
      if (streams.length > 0) call.end();
    };
    await withRoom({ stream: { Subscribe: subscribe } }, async (room) => {
      const contents: string[] = [];
      for await (const event of room.subscribe('a', { after: id(1) })) {
        contents.push(event.kind === 'message' ? event.message.content : event.kind);
        if (contents.at(-1) === '6') break;
      }
      assert.deepEqual(contents, ['2', '4', 'caughtUp', '5', '6']);
    });
    assert.deepEqual(
      requests.map(({ afterId }) => afterId),
      [id(1), id(4)],
    );
    assert.ok(requests.every(({ maxBatch }) => maxBatch > 1));
  });

  test('RESOURCE_EXHAUSTED without a delay is not repeated', async () => {
    let calls = 0;
    const refuse = (_: unknown, answer: (error: ReturnType<typeof bareError>) => void): void => {
      calls += 1;
      answer(bareError(status.RESOURCE_EXHAUSTED, 'Received message larger than max'));
    };
    await withRoom({ unary: { CheckInbox: refuse } }, async (room) => {
      await assert.rejects(room.checkInbox('a'), { code: 'RESOURCE_EXHAUSTED', reason: '', retryable: false });
    });
    assert.equal(calls, 1);
  });

  test('INTERNAL, CANCELLED and UNAVAILABLE without a reason are repeated', async () => {
    const codes = [status.INTERNAL, status.CANCELLED, status.UNAVAILABLE];
    const refuse = (
      _: unknown,
      answer: (error: ReturnType<typeof bareError> | null, response?: Buffer) => void,
    ): void => {
      const code = codes.shift();
      if (code === undefined) answer(null, Buffer.alloc(0));
      else answer(bareError(code, 'Received RST_STREAM with code 2'));
    };
    await withRoom({ unary: { CheckInbox: refuse } }, async (room) => {
      await room.send('a', 'x', { timeoutMs: 100 }).catch(() => undefined); // it answers something: UNIMPLEMENTED
      assert.deepEqual(await room.checkInbox('a'), { messages: [], more: false });
    });
    assert.deepEqual(codes, []);
  });

  test('a call that the daemon does not have says so', async () => {
    await withRoom({}, async (room) => {
      await assert.rejects(room.health(), { code: 'UNIMPLEMENTED', message: /older than this client/ });
      await assert.rejects(room.send('a', 'x'), { code: 'UNIMPLEMENTED' });
    });
  });

  test('a lone send goes at once; sends that gather while earlier ones are unanswered travel together', async () => {
    const sizes: number[] = [];
    let streams = 0;
    let answer = (): void => assert.fail('nothing was sent yet');
    const exchange: Exchange = (call) => {
      streams += 1;
      const unanswered: SendMessagesRequest[] = [];
      call.on('data', (request: Buffer) => {
        unanswered.push(SendMessagesRequest.decode(request));
        sizes.push(unanswered.at(-1)?.messages.length ?? 0);
      });
      call.on('end', () => call.end());
      answer = () => {
        const results = unanswered.shift()?.messages.map(() => sentResult('1'));
        call.write(
          Buffer.from(
            SendMessagesResponse.encode(SendMessagesResponse.fromPartial({ results: results ?? [] })).finish(),
          ),
        );
      };
    };
    await withRoom({ exchange: { SendMessages: exchange } }, async (room) => {
      const send = (count: number): Promise<unknown>[] => Array.from({ length: count }, () => room.send('a', 'x'));
      const sends = send(1);
      await waitUntil(() => sizes.length === 1, 'the lone send is there');
      for (const count of [2, 3, 4, 5, 6]) {
        sends.push(...send(count));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await waitUntil(() => sizes.length === 4, 'four batches are there');
      answer();
      await waitUntil(() => sizes.length === 5, 'the next batch is there');
      for (let rest = 4; rest > 0; rest -= 1) answer();
      await Promise.all(sends);
    });
    assert.deepEqual(sizes, [1, 2, 3, 4, 11]);
    assert.equal(streams, 1);
  });

  test('sends arrive over streams that break at random moments, and are answered once each', async () => {
    const seed = Number(process.env.MAILROOM_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
    console.log(`MAILROOM_TEST_SEED=${seed}`);
    const chance = randomNumbers(seed);
    const stored = new Map<string, string>();
    let streams = 0;
    const exchange: Exchange = (call) => {
      streams += 1;
      call.on('data', (encoded: Buffer) => {
        const { messages } = SendMessagesRequest.decode(encoded);
        if (chance() < 0.1) return call.emit('error', bareError(status.UNAVAILABLE, 'killed before'));
        for (const { idempotencyKey, content } of messages) {
          assert.ok([undefined, content].includes(stored.get(idempotencyKey)));
          stored.set(idempotencyKey, content);
        }
        if (chance() < 0.1) return call.emit('error', bareError(status.UNAVAILABLE, 'killed after'));
        if (chance() < 0.05) return call.end();
        const results = messages.map(({ content }) => sentResult(content));
        return call.write(
          Buffer.from(SendMessagesResponse.encode(SendMessagesResponse.fromPartial({ results })).finish()),
        );
      });
      call.on('end', () => call.end());
    };
    await withRoom({ exchange: { SendMessages: exchange } }, async (room) => {
      let next = 0;
      const sendOn = async (): Promise<void> => {
        while (next < 400) {
          const content = `${next++}`;
          const signal = chance() < 0.1 ? AbortSignal.timeout(Math.floor(chance() * 5)) : undefined;
          const sent = await room.send('a', content, { signal }).catch((error) => {
            assert.equal(error.name, 'TimeoutError');
          });
          if (sent) assert.equal(sent.message.id, content);
          else aborted += 1;
        }
      };
      let aborted = 0;
      await Promise.all(Array.from({ length: 20 }, sendOn));
      assert.ok(new Set(stored.values()).size >= 400 - aborted);
    });
    assert.equal(new Set(stored.values()).size, stored.size, 'no message had two keys');
    assert.ok(streams > 1);
  });
});

function sentResult(id: string) {
  return { result: { $case: 'ok' as const, value: { message: { id }, delivery: {} } } };
}

/** Returns numbers between 0 and 1 that depend on the seed only (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
