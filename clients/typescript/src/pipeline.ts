/**
 * Pipeline — concurrent sends of one client share one SendMessages stream.
 *
 * What has gathered while earlier requests are unanswered travels as one batch; a lone send goes at once. Each send keeps
 * its own key, deadline, error and abort. A stream that breaks is opened again, and unanswered batches are sent again with the
 * same keys. A send is made as a call of its own where the daemon refused the stream, or asked for it to be repeated.
 * Invariant: a send is settled once; the requests on a stream are answered in their order.
 */

import type { Caller } from './caller.js';
import { outcomeFrom, sentFrom } from './conversion.js';
import { deadlineExceeded, MailroomError, streamEnded } from './errors.js';
import type { SendMessageRequest, SendMessagesResponse } from './generated/mailroom/v1/mailroom.js';
import type { JsonObject, SentMessage } from './messages.js';
import { SEND_MESSAGE, SEND_MESSAGES } from './methods.js';
import { sizeOf } from './requests.js';
import type { Retries } from './retries.js';
import type { Exchange } from './streams.js';
import { type Deferred, defer, onAbort } from './waiting.js';

const BATCH_MESSAGES = 128; // half of what the daemon stores at a time for one agent, so that two batches overlap
const BATCH_BYTES = 4 << 20; // the daemon accepts 16 MiB for each request
const MAX_BATCHES_IN_FLIGHT = 4; // enough that the daemon never waits for the client
const IDLE_MS = 50; // a stream without sends is closed soon: it counts among the client's streams
const LONGEST_TIMER_MS = 2 ** 31 - 1; // setTimeout's limit

type BulkStream = Exchange<{ messages: SendMessageRequest[] }, SendMessagesResponse>;

/** How a send ends early. */
export interface SendLimits {
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** One send that is not settled yet. */
class PendingSend {
  readonly sizeBytes: number;
  readonly #result: Deferred<SentMessage> = defer();
  readonly #deadline: number;
  readonly #timer: NodeJS.Timeout;
  readonly #removeListener: () => void;
  #isSettled = false;

  constructor(
    readonly request: SendMessageRequest,
    private readonly limits: SendLimits,
    private readonly owner: { onSettled(): void; onTimeout(): void },
  ) {
    this.sizeBytes = sizeOf(request);
    this.#deadline = performance.now() + limits.timeoutMs;
    this.#timer = setTimeout(() => owner.onTimeout(), Math.min(limits.timeoutMs, LONGEST_TIMER_MS));
    this.#removeListener = onAbort(limits.signal, (reason) => this.fail(reason));
  }

  get result(): Promise<SentMessage> {
    return this.#result.promise;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** What is left of its time, for a call of its own. */
  get remaining(): SendLimits {
    return { timeoutMs: Math.max(0, this.#deadline - performance.now()), signal: this.limits.signal };
  }

  /** Results of streams have no content and metadata: they are the request's. */
  succeed(sent: SentMessage): void {
    const { content, metadata } = this.request;
    const message = { ...sent.message, content, metadata: (metadata ?? {}) as JsonObject };
    if (this.#settle()) this.#result.resolve({ message, delivery: sent.delivery });
  }

  fail(error: unknown): void {
    if (this.#settle()) this.#result.reject(error);
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    clearTimeout(this.#timer);
    this.#removeListener();
    this.owner.onSettled();
    return true;
  }
}

/** The sends of one client, or of one bulk send. */
export class Pipeline {
  /** Not on any stream yet. */
  readonly #queue: PendingSend[] = [];
  /** The unanswered batches, oldest first. */
  #window: PendingSend[][] = [];
  #stream: BulkStream | undefined;
  #unsettled = 0;
  #isRunning = false;
  #isFlushScheduled = false;
  #arrival: Deferred<void> = defer();
  /** Why there is no stream now, for sends whose time ends meanwhile. */
  #outage: MailroomError | undefined;

  /**
   * @param patient - whether a send waits for its mailbox to have room; a bulk send reports that it has none, and goes on.
   */
  constructor(
    private readonly caller: Caller,
    private readonly patient: boolean,
  ) {}

  /** Sends one message; rejects with a MailroomError or the signal's reason. */
  send(request: SendMessageRequest, limits: SendLimits): Promise<SentMessage> {
    limits.signal?.throwIfAborted();
    this.#unsettled += 1;
    const send = new PendingSend(request, limits, {
      onSettled: () => this.#onSettled(),
      onTimeout: () => send.fail(this.#outage ?? deadlineExceeded()),
    });
    this.#queue.push(send);
    this.#arrival.resolve();
    if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true; // sends that begin together, as in Promise.all, become one batch
      queueMicrotask(() => {
        this.#isFlushScheduled = false;
        this.#flush();
      });
    }
    return send.result;
  }

  #onSettled(): void {
    this.#unsettled -= 1;
    if (this.#unsettled === 0 && this.#window.length > 0) this.#stream?.cancel(); // nobody waits for the answers
  }

  /** Moves what has gathered into the window, and to the stream if there is one. */
  #flush(): void {
    while (this.#window.length < MAX_BATCHES_IN_FLIGHT) {
      const batch = this.#takeBatch();
      if (batch.length === 0) break;
      this.#window.push(batch);
      this.#stream?.write(requestOf(batch));
    }
    if (!this.#isRunning && this.#window.length > 0) {
      this.#isRunning = true;
      void this.#run();
    }
  }

  #takeBatch(): PendingSend[] {
    const batch: PendingSend[] = [];
    let sizeBytes = 0;
    let seen = 0;
    for (const send of this.#queue) {
      if (batch.length === BATCH_MESSAGES || (batch.length > 0 && sizeBytes + send.sizeBytes > BATCH_BYTES)) break;
      seen += 1;
      if (send.isSettled) continue;
      batch.push(send);
      sizeBytes += send.sizeBytes;
    }
    this.#queue.splice(0, seen);
    return batch;
  }

  /** Keeps a stream open while there is something to send. Never throws. */
  async #run(): Promise<void> {
    const retries = this.caller.newRetries();
    while (this.#window.length > 0) {
      try {
        await this.#converse(retries);
      } catch (error) {
        this.#dropStream();
        await this.#recover(error, retries);
      }
    }
    this.#isRunning = false;
  }

  /** Sends the window and what comes after it on one stream, until there is nothing left to send for a while. */
  async #converse(retries: Retries): Promise<void> {
    const stream: BulkStream = await this.caller.transport.openExchange(SEND_MESSAGES);
    this.#stream = stream;
    this.#dropSettled();
    for (const batch of this.#window) stream.write(requestOf(batch));
    while (this.#window.length > 0) {
      const response = await stream.next();
      if (response === undefined) throw streamEnded();
      retries.recordProgress();
      this.#outage = undefined;
      this.#resolve(this.#window.shift() ?? [], response);
      this.#flush();
      if (this.#window.length === 0) await this.#waitForArrival();
    }
    stream.end();
    this.#stream = undefined;
  }

  async #waitForArrival(): Promise<void> {
    this.#arrival = defer();
    const timer = setTimeout(this.#arrival.resolve, IDLE_MS);
    await this.#arrival.promise;
    clearTimeout(timer);
    this.#flush();
  }

  #resolve(batch: PendingSend[], response: SendMessagesResponse): void {
    for (const [index, send] of batch.entries()) {
      const outcome = outcomeFrom(send.request.recipient, response.results[index]);
      if (outcome.ok) send.succeed(outcome);
      else if (this.patient || outcome.error.code === 'UNAVAILABLE') void this.#callAlone(send, outcome.error);
      else send.fail(outcome.error);
    }
  }

  /** Repeats a send as a call of its own; after an error, only where and when that makes sense. */
  async #callAlone(send: PendingSend, error?: MailroomError): Promise<void> {
    try {
      const { timeoutMs, signal } = send.remaining;
      if (error) await this.caller.pause(this.caller.newRetries(timeoutMs).delayAfter(error), [signal], false);
      if (!send.isSettled) send.succeed(sentFrom(await this.caller.call(SEND_MESSAGE, send.request, send.remaining)));
    } catch (final) {
      send.fail(final);
    }
  }

  #dropStream(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
    this.#dropSettled();
  }

  /** Forgets sends that have ended meanwhile; only while their batches are on no stream, which answers whole batches. */
  #dropSettled(): void {
    this.#window = this.#window.map((batch) => batch.filter((send) => !send.isSettled));
    this.#window = this.#window.filter((batch) => batch.length > 0);
  }

  /** Waits before the next stream, or ends the sends that no stream can carry. */
  async #recover(error: unknown, retries: Retries): Promise<void> {
    if (this.#window.length === 0) return this.#flush();
    try {
      // Where a client has no stream left, its calls still pass.
      if (!(error instanceof MailroomError) || error.reason === 'TOO_MANY_STREAMS') throw error;
      const delayMs = retries.delayAfter(error);
      this.#outage = retries.finalError(error);
      await this.caller.pause(delayMs, [], false);
      this.#dropSettled();
    } catch (final) {
      this.#giveUp(final);
    }
    this.#flush();
  }

  /** Ends everything after a failure of this client; after a refusal by the daemon, each send gets an answer of its own. */
  #giveUp(error: unknown): void {
    const isRefused = error instanceof MailroomError && error.reason !== '' && !isFinal(error);
    const sends = this.#window.flat();
    this.#window = [];
    if (isRefused) {
      for (const send of sends) void this.#callAlone(send);
      return;
    }
    for (const send of [...sends, ...this.#queue.splice(0)]) send.fail(error);
  }
}

function isFinal(error: MailroomError): boolean {
  return ['CLIENT_CLOSED', 'DAEMON_NOT_RUNNING', 'TLS_FAILED', 'TLS_MISSING'].includes(error.reason);
}

function requestOf(batch: PendingSend[]): { messages: SendMessageRequest[] } {
  return { messages: batch.map((send) => send.request) };
}
