/**
 * Transport — makes single attempts at calls and streams.
 *
 * Only decoded responses and MailroomErrors leave this module, never gRPC's own types; an aborted call ends with the
 * signal's reason. Not here: whether to try again (`caller`, `retries`).
 */

import type { ServiceError } from '@grpc/grpc-js';

import type { Channels } from './channels.js';
import { clientClosed, invalidArgument, type MailroomError } from './errors.js';
import { errorFromRpc } from './failures.js';
import type { Method } from './methods.js';
import { MAX_REQUEST_BYTES } from './requests.js';
import { isUnreachable } from './retries.js';
import { Exchange, ResponseStream } from './streams.js';
import { onAbort } from './waiting.js';

const FIRST_RESPONSE_MS = 30_000; // a subscription is answered at once; a daemon that hangs answers nothing

/** How long one attempt may take, and what ends it early. */
export interface Attempt {
  /** Milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

interface Cancellable {
  cancel(): void;
}

/** The transport of one client. */
export class Transport {
  readonly #calls = new Set<Cancellable>();

  constructor(private readonly channels: Channels) {}

  /** What this client knows about the daemon. */
  get contact() {
    return this.channels.contact;
  }

  /** Whether the program closed the client. */
  get isClosed(): boolean {
    return this.channels.isClosed;
  }

  /** Makes one attempt at a unary call. */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    { timeoutMs, signal }: Attempt,
  ): Promise<Response> {
    signal?.throwIfAborted();
    const encoded = encodedRequest(method, request);
    const deadline = Date.now() + timeoutMs;
    const client = await this.channels.connect();
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const onAnswer = (error: ServiceError | null, response?: Response): void => {
        this.#calls.delete(call);
        removeListener();
        if (error) {
          reject(this.#toError(error));
        } else {
          this.contact.answered = true;
          resolve(response as Response);
        }
      };
      const { path, decode } = method;
      const headers = this.channels.headers();
      const call = client.makeUnaryRequest(path, unchanged, decode, encoded, headers, { deadline }, onAnswer);
      this.#calls.add(call);
      const removeListener = onAbort(signal, (reason) => {
        call.cancel();
        reject(reason);
      });
    });
  }

  /** Opens a stream of responses. A failure is raised when the stream is read. */
  async openStream<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
  ): Promise<ResponseStream<Response>> {
    const encoded = encodedRequest(method, request);
    const client = await this.channels.connect();
    const call = client.makeServerStreamRequest(
      method.path,
      unchanged,
      this.#answered(method),
      encoded,
      this.channels.headers(),
    );
    const stream = new ResponseStream(call, (error) => this.#toError(error));
    stream.expectResponseWithin(FIRST_RESPONSE_MS);
    this.#track(stream, call);
    return stream;
  }

  /** Opens a call with streams of requests and responses. A failure is raised when it is read. */
  async openExchange<Request, Response>(method: Method<Request, Response>): Promise<Exchange<Request, Response>> {
    const client = await this.channels.connect();
    const call = client.makeBidiStreamRequest(
      method.path,
      method.encode,
      this.#answered(method),
      this.channels.headers(),
    );
    const exchange = new Exchange(call, (error) => this.#toError(error));
    this.#track(exchange, call);
    return exchange;
  }

  /** Ends every call and closes the channels. */
  close(): void {
    this.channels.close();
    for (const call of this.#calls) call.cancel();
  }

  #track(stream: Cancellable, call: NodeJS.EventEmitter): void {
    this.#calls.add(stream);
    call.on('status', () => this.#calls.delete(stream));
  }

  #answered<Request, Response>(method: Method<Request, Response>): (encoded: Buffer) => Response {
    return (encoded) => {
      this.contact.answered = true;
      return method.decode(encoded);
    };
  }

  #toError(rpcError: ServiceError): MailroomError {
    if (this.isClosed) return clientClosed();
    const error = errorFromRpc(rpcError);
    if (isUnreachable(error)) this.channels.forgetAddress();
    else if (error.reason !== '' && error.reason !== 'TLS_FAILED') this.contact.answered = true;
    return error;
  }
}

function unchanged(encoded: Buffer): Buffer {
  return encoded;
}

function encodedRequest<Request, Response>(method: Method<Request, Response>, request: Request): Buffer {
  const encoded = method.encode(request);
  if (encoded.length <= MAX_REQUEST_BYTES) return encoded;
  const sentence = `the request has ${encoded.length} bytes, the limit is ${MAX_REQUEST_BYTES}: use several requests`;
  throw invalidArgument(sentence, 'REQUEST_TOO_LARGE');
}
