/** Caller — makes calls with their retries, each within its own time. Above: the verbs; below: single attempts (`transport`). */

import { clientClosed, invalidArgument, MailroomError } from './errors.js';
import type { Method } from './methods.js';
import type { CallOptions } from './options.js';
import { type Patience, Retries } from './retries.js';
import type { Transport } from './transport.js';
import { sleep } from './waiting.js';

/** What a client makes its calls with. */
export class Caller {
  readonly #closing = new AbortController();

  constructor(
    readonly transport: Transport,
    readonly patience: Patience,
  ) {
    checkTime('timeoutMs', patience.timeoutMs);
    checkTime('graceMs', patience.graceMs);
  }

  /**
   * Makes a call until it succeeds, fails for good, or its time is over. Every method may be repeated: it reads, carries an
   * idempotency key, or is idempotent by nature.
   *
   * @param extraMs - how long the daemon may wait on purpose, in addition to the timeout.
   */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
    extraMs = 0,
  ): Promise<Response> {
    const retries = this.newRetries(this.timeoutOf(options) + extraMs);
    for (;;) {
      try {
        return await this.transport.call(method, request, { timeoutMs: retries.remainingMs, signal: options.signal });
      } catch (error) {
        if (!(error instanceof MailroomError)) throw error;
        await this.pause(retries.delayAfter(error), [options.signal]);
      }
    }
  }

  /** Returns the retries of something that may take this long. */
  newRetries(timeoutMs = Number.POSITIVE_INFINITY): Retries {
    return new Retries(this.transport.contact, { graceMs: this.patience.graceMs, timeoutMs });
  }

  /** Returns the time for a call in milliseconds. */
  timeoutOf({ timeoutMs }: CallOptions): number {
    return timeoutMs === undefined ? this.patience.timeoutMs : checkTime('timeoutMs', timeoutMs);
  }

  /** Waits; ends with an error if the client is closed, or with the reason of a signal that is aborted. */
  pause(ms: number, signals: readonly (AbortSignal | undefined)[] = [], keepsAlive = true): Promise<void> {
    return sleep(ms, [...signals, this.#closing.signal], keepsAlive);
  }

  /** Ends every call and every pause. */
  close(): void {
    this.transport.close();
    this.#closing.abort(clientClosed());
  }
}

function checkTime(name: string, ms: number): number {
  if (ms >= 0) return ms;
  throw invalidArgument(`${name}: ${ms} is not a number of milliseconds`, 'TIMEOUT_INVALID', name);
}
