/**
 * Credentials — a client's token and TLS files.
 *
 * Order: the program's options, then MAILROOM_TOKEN, MAILROOM_TOKEN_FILE, MAILROOM_TLS_CA, MAILROOM_TLS_CLIENT_CERT and
 * MAILROOM_TLS_CLIENT_KEY. TLS is used over TCP if an authority is given; a Unix socket does not need it.
 * Invariant: a token is never printed, and never sent where others on the network could read it.
 */

import { readFileSync } from 'node:fs';

import { type Address, type Environment, expandPath, isLocal, socketPath } from './addresses.js';
import { invalidArgument, MailroomError } from './errors.js';
import type { AccessOptions } from './options.js';

const TOKEN = /^[!-~]+$/; // what a header can carry; the daemon decides whether it is a valid token

/** A client's credentials. */
export class Credentials {
  /** The token, `''` for none; not enumerable, so that no log shows it. */
  readonly #token: string;

  constructor(
    token: string,
    /** The authorities (PEM) that may issue the daemon's certificate; without them there is no TLS. */
    readonly ca?: Buffer,
    /** This client's certificate chain (PEM), for mutual TLS. */
    readonly cert?: Buffer,
    /** The private key of `cert` (PEM). */
    readonly key?: Buffer,
  ) {
    this.#token = token;
  }

  /** Returns the header of each call, undefined without a token. */
  get authorization(): string | undefined {
    return this.#token ? `Bearer ${this.#token}` : undefined;
  }

  /** Returns whether to use TLS with an address; throws if the token would cross the network unencrypted. */
  usesTls(address: Address): boolean {
    if (socketPath(address) !== undefined) return false;
    if (this.ca === undefined && this.#token && !isLocal(address)) {
      const sentence =
        `${address.text} is on another machine, and without TLS others on the network could read the token: ` +
        "set MAILROOM_TLS_CA to the authority's certificate";
      throw invalidArgument(sentence, 'TLS_MISSING', 'tlsCa');
    }
    return this.ca !== undefined;
  }
}

/** Returns the credentials of a client; throws if a file cannot be read or a token is malformed. */
export function findCredentials(options: AccessOptions, environment: Environment): Credentials {
  const ca = findFile('tlsCa', options.tlsCa, 'MAILROOM_TLS_CA', environment);
  const cert = findFile('tlsCert', options.tlsCert, 'MAILROOM_TLS_CLIENT_CERT', environment);
  const key = findFile('tlsKey', options.tlsKey, 'MAILROOM_TLS_CLIENT_KEY', environment);
  if ((cert === undefined) !== (key === undefined)) {
    const missing = key === undefined ? 'tlsKey' : 'tlsCert';
    throw invalidArgument(
      `${missing} is missing: a certificate and its key must be given together`,
      'TLS_INVALID',
      missing,
    );
  }
  if (cert !== undefined && ca === undefined) {
    const sentence = "tlsCa is missing: a client certificate requires TLS, which requires the daemon's authority";
    throw invalidArgument(sentence, 'TLS_INVALID', 'tlsCa');
  }
  return new Credentials(findToken(options, environment), ca, cert, key);
}

function findToken(options: AccessOptions, environment: Environment): string {
  const [text, source] = givenToken(options, environment);
  const token = text.trim();
  if (token && !TOKEN.test(token)) {
    throw invalidArgument(`${source} does not contain a token: expected a single word`, 'TOKEN_INVALID', 'token');
  }
  return token;
}

function givenToken(options: AccessOptions, environment: Environment): [text: string, source: string] {
  if (options.token !== undefined) return [options.token, 'token'];
  const read = (file: string, source: string): [string, string] => [
    readGiven(file, source, environment).toString(),
    file,
  ];
  if (options.tokenFile !== undefined) return read(options.tokenFile, 'tokenFile');
  if (environment.MAILROOM_TOKEN) return [environment.MAILROOM_TOKEN, 'MAILROOM_TOKEN'];
  const file = environment.MAILROOM_TOKEN_FILE;
  return file ? read(file, 'MAILROOM_TOKEN_FILE') : ['', ''];
}

function findFile(
  name: string,
  given: string | undefined,
  variable: string,
  environment: Environment,
): Buffer | undefined {
  if (given !== undefined) return readGiven(given, name, environment);
  const file = environment[variable];
  if (file === '') {
    // often an unset variable of a script, which must not turn TLS off
    throw invalidArgument(`${variable} is empty: set it, or unset it`, 'TLS_INVALID', name);
  }
  return file === undefined ? undefined : readGiven(file, variable, environment);
}

function readGiven(file: string, source: string, environment: Environment): Buffer {
  try {
    return readFileSync(expandPath(file, environment));
  } catch (cause) {
    if (cause instanceof MailroomError) throw cause;
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new MailroomError(`${source}: ${file} cannot be read (${detail})`, 'INVALID_ARGUMENT', {
      reason: 'FILE_UNREADABLE',
      field: source,
      cause,
    });
  }
}
