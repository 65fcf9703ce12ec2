/** ResponseStream and Exchange — the responses of one call, and the requests beside them, as promises. */

import type { ClientDuplexStream, ClientReadableStream, ServiceError } from '@grpc/grpc-js';

import { MailroomError } from './errors.js';
import { defer } from './waiting.js';

/** Converts the error of a call. */
export type ToError = (error: ServiceError) => MailroomError;

/** The responses of one call, read one by one: what is not read waits at the daemon. */
export class ResponseStream<Response> {
  #wake = defer<void>();
  #hasEnded = false;
  #error: MailroomError | undefined;
  #stallTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly call: ClientReadableStream<Response> | ClientDuplexStream<unknown, Response>,
    toError: ToError,
  ) {
    call.on('readable', () => this.#wake.resolve());
    call.on('error', (error: ServiceError) => {
      this.#error ??= toError(error);
    });
    call.on('status', () => {
      this.#hasEnded = true;
      clearTimeout(this.#stallTimer);
      this.#wake.resolve();
    });
  }

  /** Whether the call is over; responses may still be unread. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Ends the call with an error unless there is a response within this time. */
  expectResponseWithin(ms: number): void {
    this.#stallTimer = setTimeout(() => {
      const sentence = `the daemon did not answer within ${ms / 1000} s`;
      this.#error = new MailroomError(sentence, 'UNAVAILABLE', { reason: 'STREAM_STALLED' });
      this.cancel();
    }, ms);
  }

  /** Returns the next response, undefined after the last; throws a MailroomError if the call failed. */
  async next(): Promise<Response | undefined> {
    for (;;) {
      const response = this.call.read() as Response | null;
      if (response !== null) {
        clearTimeout(this.#stallTimer);
        return response;
      }
      if (this.#hasEnded) {
        if (this.#error) throw this.#error;
        return undefined;
      }
      await this.#wake.promise;
      this.#wake = defer();
    }
  }

  /** Cancels the call; a reader gets an error. */
  cancel(): void {
    clearTimeout(this.#stallTimer);
    this.call.cancel();
  }
}

/** One call with a stream of requests. */
export class Exchange<Request, Response> extends ResponseStream<Response> {
  constructor(
    private readonly duplex: ClientDuplexStream<Request, Response>,
    toError: ToError,
  ) {
    super(duplex, toError);
  }

  /** Queues a request to be sent as soon as flow control allows. */
  write(request: Request): void {
    if (!this.hasEnded) this.duplex.write(request);
  }

  /** Says that there are no further requests. */
  end(): void {
    this.duplex.end();
  }
}
