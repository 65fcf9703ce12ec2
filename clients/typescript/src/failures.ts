/**
 * Failures — converts a gRPC error and its google.rpc details to a MailroomError.
 *
 * Source of the format: google/rpc/error_details.proto, carried in the trailer grpc-status-details-bin. An error without
 * ErrorInfo is not the daemon's: it comes from gRPC. INTERNAL, CANCELLED, or a stream that was reset then say that the
 * connection broke, which is UNAVAILABLE.
 */

import type { ServiceError } from '@grpc/grpc-js';

import { milliseconds } from './conversion.js';
import { type Code, codeName, deadlineExceeded, type ErrorDetails, MailroomError } from './errors.js';
import { BadRequest, ErrorInfo, RetryInfo } from './generated/google/rpc/error_details.js';
import { Status } from './generated/google/rpc/status.js';

const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';

// How Node and OpenSSL word a failed handshake; observed with Node 20.
const HANDSHAKE_ERRORS: readonly [pattern: RegExp, sentence: string][] = [
  [
    /altnames/i,
    "The daemon's certificate does not cover this address. Use a host name or an IP address that the certificate lists.",
  ],
  [
    /self.signed certificate|unable to (verify|get)|certificate has expired|CERT_|unknown ca/i,
    "The daemon's certificate has expired or was not issued by a trusted authority. Check MAILROOM_TLS_CA.",
  ],
  [
    /wrong version number|packet length too long/i,
    'The daemon does not use TLS at this address. Unset MAILROOM_TLS_CA, or start the daemon with --tls-cert.',
  ],
  [/certificate required|alert.*certificate/i, 'The daemon requires a client certificate: set tlsCert and tlsKey.'],
];

/** Returns the typed error of a call that failed. */
export function errorFromRpc(error: ServiceError): MailroomError {
  const details = detailsOf(error);
  const code = typeof error.code === 'number' ? codeName(error.code) : 'UNAVAILABLE'; // Node's own errors have names
  if (details.reason) return new MailroomError(error.details, code, details);
  const [, handshake] =
    HANDSHAKE_ERRORS.find(([pattern]) => code === 'UNAVAILABLE' && pattern.test(error.details ?? '')) ?? [];
  if (handshake) return new MailroomError(handshake, 'UNAVAILABLE', { reason: 'TLS_FAILED', cause: error });
  if (code === 'DEADLINE_EXCEEDED') return deadlineExceeded(error);
  if (code === 'UNIMPLEMENTED') {
    const sentence =
      'The daemon does not support this call: it is older than this client. Restart it after an upgrade.';
    return new MailroomError(sentence, code, { cause: error });
  }
  if (isBroken(code, error.details))
    return new MailroomError(shortened(error.details || error.message), 'UNAVAILABLE', { cause: error });
  return new MailroomError(error.details || `the daemon returned ${code}`, code, { cause: error });
}

function isBroken(code: Code, details: string): boolean {
  if (code === 'UNAVAILABLE' || code === 'CANCELLED') return true;
  if (code === 'RESOURCE_EXHAUSTED') return /RST_STREAM with code 11|too_many_pings|ENHANCE_YOUR_CALM/.test(details);
  return code === 'INTERNAL' && !/serialization failure|parsing error/.test(details);
}

/** "No connection established. Last error: connect ENOENT /x. Resolution note: …" becomes "connect ENOENT /x". */
function shortened(details: string): string {
  const cause = /Last error: (?:Error: )?(.*?)(?: \(\d{4}-[^)]*\))?(?:\. Resolution note: .*)?$/s.exec(details)?.[1];
  return cause ?? (details || 'the connection broke');
}

function detailsOf(error: ServiceError): ErrorDetails {
  const details: ErrorDetails = { cause: error };
  const [encoded] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!(encoded instanceof Uint8Array)) return details;
  try {
    for (const { typeUrl, value } of Status.decode(encoded).details) {
      if (typeUrl === `${TYPE_PREFIX}ErrorInfo`) details.reason = ErrorInfo.decode(value).reason;
      if (typeUrl === `${TYPE_PREFIX}BadRequest`) details.field = BadRequest.decode(value).fieldViolations[0]?.field;
      if (typeUrl === `${TYPE_PREFIX}RetryInfo`)
        details.retryAfterMs = milliseconds(RetryInfo.decode(value).retryDelay);
    }
  } catch {
    return { cause: error }; // details that cannot be decoded are ignored
  }
  return details;
}
