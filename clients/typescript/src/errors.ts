/**
 * MailroomError — every error that this client raises, except a program's own abort reason.
 *
 * Not here: the conversion of gRPC errors (`failures`). This module does not depend on gRPC.
 */

import type { ErrorReason as ProtoErrorReason } from './generated/mailroom/v1/mailroom.js';

/** The names of the gRPC status codes. Source: https://grpc.io/docs/guides/status-codes */
export const CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

/** The name of a gRPC status code. */
export type Code = (typeof CODES)[number];

/** The reasons that the daemon gives; docs/errors.md says what each means. Newer daemons may give others. */
export type ErrorReason = Exclude<keyof typeof ProtoErrorReason, 'UNSPECIFIED' | 'UNRECOGNIZED'>;

/** The reasons that this client gives by itself. */
export type ClientReason =
  | 'ADDRESS_INVALID'
  | 'CLIENT_CLOSED'
  | 'DAEMON_NOT_RUNNING'
  | 'FILE_UNREADABLE'
  | 'HOME_MISSING'
  | 'REQUEST_TOO_LARGE'
  | 'STREAM_ENDED'
  | 'STREAM_STALLED'
  | 'TIMEOUT_INVALID'
  | 'TLS_FAILED'
  | 'TLS_INVALID'
  | 'TLS_MISSING';

/** A stable identifier for programs; `''` if neither the daemon nor this client gave one. */
export type Reason = ErrorReason | ClientReason | (string & {});

/** What a `MailroomError` is made of, beside its message and code. */
export interface ErrorDetails {
  reason?: Reason;
  field?: string | undefined;
  retryAfterMs?: number | undefined;
  key?: string | undefined;
  cause?: unknown;
}

/** A failed call. Its message says what is wrong and what to do. */
export class MailroomError extends Error {
  override readonly name = 'MailroomError';
  /** The name of the gRPC status code, such as `'INVALID_ARGUMENT'`. */
  readonly code: Code;
  /** A stable identifier, such as `'RECIPIENT_INVALID'`; `''` if there is none. */
  readonly reason: Reason;
  /** The invalid field of the request, as the contract names it. */
  readonly field?: string;
  /** The delay before the next attempt in milliseconds, as the daemon asked for it. */
  readonly retryAfterMs?: number;
  /** The idempotency key of the send that failed: repeating it with this key cannot double the message. */
  readonly key?: string;

  constructor(message: string, code: Code, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? '';
    if (details.field !== undefined) this.field = details.field;
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs;
    if (details.key !== undefined) this.key = details.key;
  }

  /** Whether the same call, with the same key, may succeed later. The client itself has tried until the timeout. */
  get retryable(): boolean {
    if (this.code === 'RESOURCE_EXHAUSTED') return this.retryAfterMs !== undefined;
    if (this.reason === 'CLIENT_CLOSED' || this.reason === 'TLS_FAILED') return false;
    return this.code === 'UNAVAILABLE' || this.code === 'DEADLINE_EXCEEDED' || this.code === 'CANCELLED';
  }

  /** Returns the same error with the key of the send that failed. */
  withKey(key: string): MailroomError {
    const { message, code, reason, field, retryAfterMs, cause } = this;
    return new MailroomError(message, code, { reason, field, retryAfterMs, key, cause });
  }

  /** Returns the error as JSON-ready values. */
  toJSON(): Record<string, unknown> {
    const { code, reason, message, field, retryAfterMs, key } = this;
    return { code, reason, message, field, retryAfterMs, key };
  }
}

/** Returns the name of a gRPC status code. */
export function codeName(code: number): Code {
  return CODES[code] ?? 'UNKNOWN';
}

/** Returns the error for a request that was not sent, because a field of it is invalid. */
export function invalidArgument(message: string, reason: Reason, field?: string): MailroomError {
  return new MailroomError(message, 'INVALID_ARGUMENT', { reason, field });
}

/** Returns the error for calls of a client that its program has closed. */
export function clientClosed(): MailroomError {
  return new MailroomError('This client is closed. Open a new one.', 'CANCELLED', { reason: 'CLIENT_CLOSED' });
}

/** Returns the error for a stream that the daemon ended, which is opened again. */
export function streamEnded(): MailroomError {
  return new MailroomError('the daemon ended the stream', 'UNAVAILABLE', { reason: 'STREAM_ENDED' });
}

/** Returns the error for a call that got no answer in time. */
export function deadlineExceeded(cause?: unknown): MailroomError {
  const sentence = 'The daemon did not answer in time. The call may have succeeded: repeat it with the same key.';
  return new MailroomError(sentence, 'DEADLINE_EXCEEDED', { cause });
}
