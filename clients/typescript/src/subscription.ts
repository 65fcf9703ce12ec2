/**
 * Subscription — an async iterator over events that reconnects and resumes by itself.
 *
 * It owns one stream at a time, a cursor (no gaps, no repeats) and its retries (when to reconnect). It ends when it or its
 * client is closed, and throws only errors that a retry cannot resolve, or the reason of an aborted signal.
 */

import type { Caller } from './caller.js';
import { commandResponseFrom, messageFrom, receiptFrom } from './conversion.js';
import { Cursor } from './cursor.js';
import { MailroomError, streamEnded } from './errors.js';
import type { Event } from './events.js';
import type { SubscribeResponse } from './generated/mailroom/v1/mailroom.js';
import { SUBSCRIBE } from './methods.js';
import type { SubscribeOptions } from './options.js';
import { subscribeRequest } from './requests.js';
import type { Retries } from './retries.js';
import type { ResponseStream } from './streams.js';
import { defer, onAbort } from './waiting.js';

/** The events of an agent, or of all agents. Iterate over it once, with `for await`. */
export class Subscription implements AsyncIterableIterator<Event, void, undefined> {
  readonly #cursor: Cursor;
  readonly #retries: Retries;
  readonly #events: AsyncGenerator<Event, void, undefined>;
  readonly #closing = new AbortController();
  readonly #opened = defer<void>();
  #first: Promise<IteratorResult<Event, void>> | undefined;
  #stream: ResponseStream<SubscribeResponse> | undefined;
  #isLive = false;

  /** @internal */
  constructor(
    private readonly caller: Caller,
    private readonly agent: string | undefined,
    private readonly options: SubscribeOptions,
  ) {
    this.#cursor = new Cursor(options);
    this.#retries = caller.newRetries();
    this.#events = this.#run();
  }

  /** The place of the last event: pass it as `after` to resume in another process. Undefined before the first event. */
  get place(): string | undefined {
    return this.#cursor.after;
  }

  /** Resolves when the daemon has answered: from then on no event is missed. Iterating alone does the same. */
  async ready(): Promise<void> {
    this.#first ??= this.#events.next();
    await Promise.race([this.#opened.promise, this.#first]);
  }

  /** Returns the next event. */
  next(): Promise<IteratorResult<Event, void>> {
    const first = this.#first ?? this.#events.next();
    this.#first = undefined;
    return first;
  }

  /** Ends the iteration, as `break` does. */
  async return(): Promise<IteratorResult<Event, void>> {
    this.close();
    await this.#events.return();
    return { done: true, value: undefined };
  }

  /** Ends the stream and the iteration; may be called from anywhere. */
  close(): void {
    this.#closing.abort();
    this.#stream?.cancel();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async *#run(): AsyncGenerator<Event, void, undefined> {
    const { signal } = this.options;
    const removeListener = onAbort(signal, () => this.#stream?.cancel());
    try {
      while (!this.#isClosed) {
        try {
          yield* this.#converse();
        } catch (error) {
          signal?.throwIfAborted();
          if (!this.#isClosed) await this.#recover(error);
        }
      }
    } finally {
      removeListener();
      this.#stream?.cancel();
    }
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted || this.caller.transport.isClosed;
  }

  /** Yields the events of one stream; throws when it ends. */
  async *#converse(): AsyncGenerator<Event, void, undefined> {
    this.options.signal?.throwIfAborted();
    const request = subscribeRequest(this.agent, this.options, this.#cursor);
    const stream = await this.caller.transport.openStream(SUBSCRIBE, request);
    this.#stream = stream;
    if (this.#isClosed || this.options.signal?.aborted) stream.cancel();
    for (;;) {
      const response = await stream.next();
      if (response === undefined) throw streamEnded();
      this.#opened.resolve();
      this.#isLive = true;
      for (const one of response.events.length > 0 ? response.events : [response]) {
        const event = this.#receive(one);
        if (event) yield event;
        this.options.signal?.throwIfAborted();
        if (this.#isClosed) return;
      }
    }
  }

  /** Moves the cursor; returns the event if it is new and of a known kind. */
  #receive(response: SubscribeResponse): Event | undefined {
    const { event, eventId } = response;
    if (event?.$case === 'goingAway') {
      this.#cursor.recordGoingAway(event.value.lastId);
      throw new MailroomError('the daemon is stopping', 'UNAVAILABLE', { reason: 'STOPPING' });
    }
    if (event?.$case === 'caughtUp') {
      this.#cursor.recordCaughtUp(event.value.lastId);
      this.#retries.recordProgress();
      return { kind: 'caughtUp', eventId: event.value.lastId, gap: event.value.gap };
    }
    if (eventId === '' || !this.#cursor.admit(eventId)) return undefined;
    this.#retries.recordProgress(); // a replay that always breaks at the same event is no progress
    switch (event?.$case) {
      case 'message':
        return { kind: 'message', eventId, message: messageFrom(event.value) };
      case 'receipt':
        return { kind: 'receipt', eventId, receipt: receiptFrom(event.value) };
      case 'commandResponse':
        return { kind: 'response', eventId, response: commandResponseFrom(event.value) };
      default:
        return undefined; // a kind that only newer daemons send
    }
  }

  /** Waits before the next stream; throws the error if there is to be none. */
  async #recover(error: unknown): Promise<void> {
    this.#stream?.cancel();
    if (!(error instanceof MailroomError)) throw error;
    const delayMs = this.#retries.delayAfter(error);
    if (this.#isLive) this.options.onInterrupted?.(error);
    this.#isLive = false;
    try {
      await this.caller.pause(delayMs, [this.options.signal, this.#closing.signal]);
    } catch (reason) {
      this.options.signal?.throwIfAborted();
      if (!this.#isClosed) throw reason;
    }
  }
}
