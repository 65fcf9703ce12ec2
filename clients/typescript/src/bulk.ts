/**
 * Bulk — sends many drafts on one stream and yields their outcomes in order, in bounded memory.
 *
 * It runs a bounded number of drafts ahead: a consumer that stops iterating stops the sending. Batches, and streams that are
 * resumed, are the pipeline's.
 */

import type { Caller } from './caller.js';
import { MailroomError } from './errors.js';
import type { SendMessageRequest } from './generated/mailroom/v1/mailroom.js';
import type { SendOutcome } from './messages.js';
import type { CallOptions, Draft } from './options.js';
import { Pipeline } from './pipeline.js';
import { draftRequest, sizeOf } from './requests.js';
import { defer, onAbort } from './waiting.js';

const MAX_DRAFTS_AHEAD = 1_000; // four full batches
const MAX_BYTES_AHEAD = 16 << 20; // likewise

/** Where drafts come from. */
export type Drafts = Iterable<Draft> | AsyncIterable<Draft>;

interface Ahead {
  readonly outcome: Promise<SendOutcome>;
  readonly sizeBytes: number;
}

/** One bulk send. */
export class Bulk {
  readonly #pipeline: Pipeline;
  readonly #ending = new AbortController();
  readonly #ahead: Ahead[] = [];
  #bytesAhead = 0;

  constructor(
    private readonly caller: Caller,
    private readonly sender: string | undefined,
    private readonly options: CallOptions,
  ) {
    this.#pipeline = new Pipeline(caller, false);
  }

  /** Sends the drafts and yields their outcomes. */
  async *outcomes(drafts: Drafts): AsyncGenerator<SendOutcome, void> {
    const { signal } = this.options;
    const aborted = defer<never>();
    aborted.promise.catch(() => undefined);
    const removeListener = onAbort(signal, (reason) => {
      aborted.reject(reason);
      this.#ending.abort(reason);
    });
    const source = new Source(drafts);
    try {
      signal?.throwIfAborted();
      while (await this.#fill(source, aborted.promise)) yield await this.#takeOldest();
      source.throwIfFailed();
    } finally {
      removeListener();
      this.#ending.abort(new MailroomError('the bulk send was ended', 'CANCELLED'));
      await source.end();
    }
  }

  /** Takes drafts until the oldest one is settled or enough are ahead; returns whether any are. */
  async #fill(source: Source, aborted: Promise<never>): Promise<boolean> {
    while (this.#ahead.length < MAX_DRAFTS_AHEAD && this.#bytesAhead < MAX_BYTES_AHEAD) {
      const next = source.next();
      if (next instanceof Promise) {
        const settled = this.#ahead[0]?.outcome.then(isTrue, isTrue) ?? aborted;
        if (await Promise.race([next, settled, aborted])) break;
      } else if (next === undefined) break;
      else this.#start(next);
    }
    return this.#ahead.length > 0;
  }

  #start(draft: Draft): void {
    const start = this.#send(draft);
    start.outcome.catch(() => undefined); // it is thrown when its turn comes
    this.#ahead.push(start);
    this.#bytesAhead += start.sizeBytes;
  }

  #send(draft: Draft): Ahead {
    let request: SendMessageRequest;
    try {
      request = draftRequest(draft, this.sender);
    } catch (error) {
      if (!(error instanceof MailroomError)) throw error;
      return { outcome: Promise.resolve({ ok: false, recipient: draft.to, error }), sizeBytes: 0 };
    }
    const limits = { timeoutMs: this.caller.timeoutOf(this.options), signal: this.#ending.signal };
    return { outcome: this.#outcome(request, limits), sizeBytes: sizeOf(request) };
  }

  async #outcome(
    request: SendMessageRequest,
    limits: { timeoutMs: number; signal: AbortSignal },
  ): Promise<SendOutcome> {
    const recipient = request.recipient;
    try {
      return { ok: true, recipient, ...(await this.#pipeline.send(request, limits)) };
    } catch (error) {
      if (!(error instanceof MailroomError)) throw error;
      const keyed = error.withKey(request.idempotencyKey);
      if (isOutage(keyed)) throw keyed;
      return { ok: false, recipient, error: keyed };
    }
  }

  async #takeOldest(): Promise<SendOutcome> {
    const oldest = this.#ahead.shift();
    if (oldest === undefined) throw new RangeError('no draft is ahead');
    this.#bytesAhead -= oldest.sizeBytes;
    return oldest.outcome;
  }
}

/** Drafts, one by one, from either kind of iterable. An error of the iterable ends it, and is thrown after all outcomes. */
class Source {
  readonly #iterator: Iterator<Draft> | AsyncIterator<Draft>;
  #awaited: Promise<false> | undefined;
  #arrived: Draft | undefined;
  #hasEnded = false;
  #failure: { error: unknown } | undefined;

  constructor(drafts: Drafts) {
    this.#iterator = Symbol.asyncIterator in drafts ? drafts[Symbol.asyncIterator]() : drafts[Symbol.iterator]();
  }

  /** Returns the next draft, undefined after the last; or a promise, resolved when this is to be asked again. */
  next(): Draft | undefined | Promise<false> {
    if (this.#awaited) return this.#awaited;
    if (this.#arrived === undefined && !this.#hasEnded) this.#advance();
    if (this.#awaited) return this.#awaited;
    const draft = this.#arrived;
    this.#arrived = undefined;
    return draft;
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }

  /** Tells the iterator that no further draft is wanted. */
  async end(): Promise<void> {
    if (!this.#hasEnded && this.#awaited === undefined) await this.#iterator.return?.();
  }

  #advance(): void {
    try {
      const result = this.#iterator.next();
      if ('then' in result) this.#awaited = this.#await(result);
      else this.#record(result);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #await(result: Promise<IteratorResult<Draft>>): Promise<false> {
    try {
      this.#record(await result);
    } catch (error) {
      this.#fail(error);
    }
    return false;
  }

  #record(result: IteratorResult<Draft>): void {
    this.#awaited = undefined;
    if (result.done) this.#hasEnded = true;
    else this.#arrived = result.value;
  }

  #fail(error: unknown): void {
    this.#awaited = undefined;
    this.#hasEnded = true;
    this.#failure = { error };
  }
}

function isTrue(): true {
  return true;
}

/** Whether the daemon could not be reached: going on would only fail draft after draft. */
function isOutage(error: MailroomError): boolean {
  return error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED' || error.reason === 'CLIENT_CLOSED';
}
