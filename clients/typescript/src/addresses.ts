/**
 * Address — locates the daemon, and records every place that was tried.
 *
 * Order: the program's option, MAILROOM_ADDRESS, the socket in XDG_RUNTIME_DIR, the daemon's `addresses` file, the socket in
 * the state directory. MAILROOM_STATE_DIR selects one daemon, so only that directory is searched. A socket counts only if
 * a process listens on it: a stale socket must not hide a running daemon. Paths are interpreted as the daemon interprets them.
 */

import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';

import { invalidArgument, MailroomError } from './errors.js';

const SOCKET_NAME = 'mailroom.sock';
const ADDRESSES_NAME = 'addresses'; // JSON list of "unix:PATH" and "HOST:PORT", written by the daemon
const MAX_SOCKET_PATH_BYTES = 107; // sockaddr_un.sun_path without its final NUL (unix(7))
const PROBE_MS = 1_000; // connecting to a local socket takes microseconds, unless its listener's backlog is full
const HOST_AND_PORT = /^(\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):[0-9]{1,5}$/;

/** The environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One place to connect to. */
export interface Address {
  /** `unix:PATH` or `HOST:PORT`. */
  readonly text: string;
  /** Each place that was tried, with what was wrong there, for error messages. */
  readonly tried: readonly string[];
}

/** Returns the Unix socket's path, or undefined for TCP. */
export function socketPath(address: Address): string | undefined {
  return address.text.startsWith('unix:') ? address.text.slice('unix:'.length) : undefined;
}

/** Returns an address as grpc-js wants it: it takes everything between `unix://` and the end as the path. */
export function grpcTarget(address: Address): string {
  const path = socketPath(address);
  return path === undefined ? `dns:${address.text}` : `unix://${path}`;
}

/** Returns whether an address is on this machine. */
export function isLocal(address: Address): boolean {
  const host = address.text.slice(0, address.text.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  return (
    socketPath(address) !== undefined || host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
  );
}

/** Returns the address that the program or MAILROOM_ADDRESS gives, undefined if the daemon is to be searched for. */
export function givenAddress(explicit: string | undefined, environment: Environment): Address | undefined {
  if (explicit) return { text: normalized(explicit, 'address', environment), tried: [] };
  const given = environment.MAILROOM_ADDRESS;
  return given ? { text: normalized(given, 'MAILROOM_ADDRESS', environment), tried: ['MAILROOM_ADDRESS'] } : undefined;
}

/** Returns where a daemon listens. If none is found, this is the address where it would most likely appear. */
export async function searchDaemon(environment: Environment): Promise<Address> {
  const stateDirectory = findStateDirectory(environment);
  const runtimeDirectory = environment.MAILROOM_STATE_DIR ? '' : (environment.XDG_RUNTIME_DIR ?? '');
  const search = new Search(environment);
  const text =
    (runtimeDirectory.startsWith('/')
      ? await search.trySocket(join(runtimeDirectory, 'mailroom', SOCKET_NAME))
      : undefined) ??
    (await search.tryAddressFile(join(stateDirectory, ADDRESSES_NAME))) ??
    (await search.trySocket(join(stateDirectory, SOCKET_NAME))) ??
    search.stale[0] ??
    normalized(`unix:${join(stateDirectory, SOCKET_NAME)}`, "the state directory's socket", environment);
  return { text, tried: search.tried };
}

/** Returns a path with a leading `~` expanded, absolute; a relative path starts at the current directory. */
export function expandPath(path: string, environment: Environment): string {
  if (path !== '~' && !path.startsWith('~/')) return resolve(path);
  return join(homeDirectory(environment), path.slice(1));
}

class Search {
  readonly tried: string[] = [];
  /** Where a daemon listened before, and will most likely listen again. */
  readonly stale: string[] = [];

  constructor(private readonly environment: Environment) {}

  async trySocket(path: string): Promise<string | undefined> {
    const error = await connectError(path);
    this.tried.push(error ? `${path} (${error})` : path);
    if (error === 'ECONNREFUSED') this.stale.push(`unix:${path}`);
    return error ? undefined : `unix:${path}`;
  }

  async tryAddressFile(file: string): Promise<string | undefined> {
    let addresses: string[];
    try {
      addresses = readAddresses(await readFile(file, 'utf8'), file, this.environment);
    } catch (error) {
      this.tried.push(`${file} (${errorCode(error) ?? 'not a JSON list of addresses'})`);
      return undefined;
    }
    const live: string[] = [];
    const summaries: string[] = [];
    for (const text of addresses) {
      const path = socketPath({ text, tried: [] });
      const error = path === undefined ? '' : await connectError(path);
      if (!error) live.push(text);
      summaries.push(error ? `${text}: ${error}` : text);
      this.stale.push(text);
    }
    this.tried.push(`${file} (${summaries.join(', ') || 'empty'})`);
    return live.find((text) => text.startsWith('unix:')) ?? live[0];
  }
}

function readAddresses(content: string, file: string, environment: Environment): string[] {
  const parsed: unknown = JSON.parse(content);
  if (!Array.isArray(parsed)) throw new TypeError('not a list');
  return parsed.filter((item) => typeof item === 'string').map((item) => normalized(item, file, environment));
}

/** Returns why no process can be reached on a Unix socket, `''` if one listens. */
function connectError(path: string): Promise<string> {
  return new Promise((settle) => {
    const socket = createConnection({ path });
    const end = (error: string): void => {
      clearTimeout(timer);
      socket.destroy();
      settle(error);
    };
    const timer = setTimeout(() => end(''), PROBE_MS); // a process listens, but does not accept
    socket.once('connect', () => end(''));
    socket.once('error', (error) => {
      const code = errorCode(error) ?? String(error);
      end(code === 'EAGAIN' ? '' : code); // EAGAIN: a process listens, but its backlog is full
    });
  });
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function normalized(text: string, source: string, environment: Environment): string {
  const path = /^[/~]/.test(text) ? text : text.startsWith('unix:') ? text.slice('unix:'.length) : '';
  if (!path && HOST_AND_PORT.test(text)) return text;
  const advice = 'use unix:PATH or HOST:PORT';
  if (!path || path.includes('\0')) {
    throw invalidArgument(
      `${source}: ${JSON.stringify(text)} is not a valid address; ${advice}`,
      'ADDRESS_INVALID',
      'address',
    );
  }
  const absolute = expandPath(path.replace(/^\/+/, '/'), environment);
  const size = Buffer.byteLength(absolute);
  if (size > MAX_SOCKET_PATH_BYTES) {
    const problem = `the path has ${size} bytes, a socket's path at most ${MAX_SOCKET_PATH_BYTES}`;
    throw invalidArgument(`${source}: ${absolute} is not a valid address (${problem})`, 'ADDRESS_INVALID', 'address');
  }
  return `unix:${absolute}`;
}

function findStateDirectory(environment: Environment): string {
  const given = environment.MAILROOM_STATE_DIR;
  if (given) return expandPath(given, environment);
  const base = environment.XDG_STATE_HOME ?? '';
  return join(base.startsWith('/') ? base : join(homeDirectory(environment), '.local', 'state'), 'mailroom');
}

/** Returns $HOME, otherwise the home directory in the user database; a user need not have one. */
function homeDirectory(environment: Environment): string {
  const home = environment.HOME ?? '';
  if (home.startsWith('/')) return home;
  try {
    return userInfo().homedir;
  } catch (cause) {
    const sentence = 'There is no home directory: set MAILROOM_ADDRESS, MAILROOM_STATE_DIR or HOME.';
    throw new MailroomError(sentence, 'INVALID_ARGUMENT', { reason: 'HOME_MISSING', field: 'address', cause });
  }
}
