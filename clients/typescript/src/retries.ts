/**
 * Retries — decides whether to retry a failed attempt, and when.
 *
 * Pure: it neither waits nor calls. A `Retries` lives as long as one call or one stream that is resumed, a `Contact` as
 * long as the client. UNAVAILABLE is retried; so is CANCELLED if this client did not cancel, and RESOURCE_EXHAUSTED if the
 * daemon gives a delay. Nothing else is retried. As long as no daemon has ever answered this client, retries end after a
 * short grace period: the daemon may be restarting, or not be installed at all.
 */

import { type Address, socketPath } from './addresses.js';
import { MailroomError } from './errors.js';

const FIRST_DELAY_MS = 50; // a gateway is back in about 0.2 s
const LONGEST_DELAY_MS = 2_000; // the longest wait for a daemon that is back already

/** What a client knows about its daemon. */
export interface Contact {
  /** Where it is, or is expected; undefined before the first search. */
  address: Address | undefined;
  /** Whether it has ever answered. */
  answered: boolean;
}

/** When to give up. */
export interface Patience {
  /** How long to look for a daemon that has never answered, in milliseconds. */
  graceMs: number;
  /** The time for all attempts together; infinite for a stream. */
  timeoutMs: number;
}

/** Delays that double, each shortened at random by up to half so that clients do not all return at once. */
export class Backoff {
  #delayMs = FIRST_DELAY_MS;

  constructor(private readonly random: () => number = Math.random) {}

  /** Returns the next delay in milliseconds. */
  next(): number {
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS);
    return delayMs * (1 - this.random() / 2);
  }

  /** Starts again with the shortest delay. */
  reset(): void {
    this.#delayMs = FIRST_DELAY_MS;
  }
}

/** The attempts of one call. */
export class Retries {
  readonly #deadline: number;
  readonly #backoff = new Backoff();
  #unreachableSince: number | undefined;

  constructor(
    private readonly contact: Contact,
    private readonly patience: Patience,
    private readonly clock: () => number = () => performance.now(),
  ) {
    this.#deadline = clock() + patience.timeoutMs;
  }

  /** The rest of the timeout in milliseconds. */
  get remainingMs(): number {
    return Math.max(0, this.#deadline - this.clock());
  }

  /** Starts delays and grace period over, after a success. */
  recordProgress(): void {
    this.#unreachableSince = undefined;
    this.#backoff.reset();
  }

  /** Returns how many milliseconds to wait before the next attempt; throws if there is to be none. */
  delayAfter(error: MailroomError): number {
    if (!isRetriable(error)) throw error;
    const delayMs = Math.max(this.#backoff.next(), error.retryAfterMs ?? 0);
    if (this.clock() + delayMs < this.#giveUpAt(error)) return delayMs;
    throw this.finalError(error);
  }

  /** Returns the error for a call that is not repeated any more: DAEMON_NOT_RUNNING if the daemon could not be reached. */
  finalError(error: MailroomError): MailroomError {
    return isUnreachable(error) ? this.#notRunning(error) : error;
  }

  #giveUpAt(error: MailroomError): number {
    if (this.contact.answered || !isUnreachable(error)) return this.#deadline;
    this.#unreachableSince ??= this.clock();
    return Math.min(this.#deadline, this.#unreachableSince + this.patience.graceMs);
  }

  #notRunning(error: MailroomError): MailroomError {
    const address = this.contact.address;
    const isTcp = address !== undefined && socketPath(address) === undefined;
    const hint = isTcp ? ' Over TCP it may require TLS (MAILROOM_TLS_CA), or a client certificate.' : '';
    const tried = address?.tried.length ? ` Tried: ${address.tried.join('; ')}.` : '';
    return new MailroomError(
      `The Mailroom daemon is not running: no answer at ${address?.text ?? 'its address'} (${error.message}).${tried} ` +
        'Start it with `mailroomd`, or with `systemctl --user start mailroomd` if it is installed as a service.' +
        hint,
      'UNAVAILABLE',
      { reason: 'DAEMON_NOT_RUNNING', cause: error },
    );
  }
}

function isRetriable(error: MailroomError): boolean {
  return error.retryable && error.code !== 'DEADLINE_EXCEEDED';
}

/** Returns whether an UNAVAILABLE comes from the local connection: the daemon itself always gives a reason. */
export function isUnreachable(error: MailroomError): boolean {
  return error.code === 'UNAVAILABLE' && error.reason === '';
}
