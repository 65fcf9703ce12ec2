/** Daemon — a real mailroomd in a scratch directory of its own, which tests start, stop and kill. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Mailroom, type MailroomOptions } from 'mailroom-client';

const PROJECT = fileURLToPath(new URL('../../../..', import.meta.url));
const BOUND_MS = 60_000; // for anything that has to happen

/** The programs of the project's own environment. */
export function program(name: string): string {
  const path = join(PROJECT, '.venv', 'bin', name);
  assert.ok(existsSync(path), `${path} is missing: run make setup`);
  return path;
}

/** Waits for a condition, and returns its first value that is not undefined or false. */
export async function waitUntil<T>(
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
): Promise<T> {
  const deadline = performance.now() + BOUND_MS;
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false) return found;
    assert.ok(performance.now() < deadline, `waited ${BOUND_MS / 1000} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One daemon, over all its starts in one directory. */
export class Daemon {
  readonly directory: string;
  readonly address: string;
  #process: ChildProcess | undefined;
  readonly #rooms: Mailroom[] = [];

  /** Starts a daemon, and waits until it is ready. */
  static async start(...flags: string[]): Promise<Daemon> {
    const daemon = new Daemon(flags);
    await daemon.start();
    return daemon;
  }

  constructor(
    readonly flags: readonly string[] = [],
    /** The directory's name below /tmp; short, because a socket's path is. */
    prefix = 'mrn-',
  ) {
    this.directory = mkdtempSync(`/tmp/${prefix}`);
    this.address = `unix:${this.directory}/m.sock`;
  }

  get root(): string {
    return join(this.directory, 'root');
  }

  get stateDirectory(): string {
    return join(this.directory, 'state');
  }

  get database(): string {
    return join(this.stateDirectory, 'mailroom.db');
  }

  get pid(): number {
    assert.ok(this.#process?.pid, 'the daemon has been started');
    return this.#process.pid;
  }

  /** Returns a client of this daemon, which `end` closes; patient, since a start may take long on a busy machine. */
  room(options: MailroomOptions = {}): Mailroom {
    const room = new Mailroom({
      address: this.address,
      sender: 'tester',
      graceMs: BOUND_MS,
      timeoutMs: BOUND_MS,
      ...options,
    });
    this.#rooms.push(room);
    return room;
  }

  /** Starts it, with further flags, and waits until it is ready. */
  async start(...flags: string[]): Promise<void> {
    const environment = Object.entries(process.env).filter(([name]) => !/^(MAILROOM|XDG)_/.test(name));
    const places = ['--root', this.root, '--state-dir', this.stateDirectory];
    const all = [...this.flags, ...flags];
    if (!all.includes('--listen')) places.push('--listen', this.address);
    const log = openSync(join(this.directory, 'log'), 'a');
    const child = spawn(program('mailroomd'), [...places, '--max-restarts', '1000/10', ...all], {
      env: { ...Object.fromEntries(environment), HOME: this.directory },
      stdio: ['ignore', 'pipe', log],
    });
    closeSync(log);
    this.#process = child;
    let announced = '';
    child.stdout?.on('data', (chunk) => {
      announced += chunk;
    });
    const isReady = (): boolean => announced.includes(' is ready: ') || child.exitCode !== null;
    await waitUntil(isReady, 'the daemon announces that it is ready');
    assert.equal(child.exitCode, null, `the daemon ended:\n${readFileSync(join(this.directory, 'log'), 'utf8')}`);
  }

  /** Ends the supervisor by a signal, and with it all; returns when it is gone. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  /** Kills a worker by SIGKILL; returns when its successor runs. */
  async killWorker(name: string, room: Mailroom): Promise<void> {
    const find = async () => (await room.status()).workers.find((worker) => worker.name === name);
    const before = await find();
    assert.ok(before, `there is a worker ${name}`);
    process.kill(before.pid, 'SIGKILL');
    const isReplaced = async () => {
      const now = await find();
      return now?.pid !== before.pid && now?.state === 'running';
    };
    await waitUntil(isReplaced, `${name} runs again`);
  }

  /** Returns the contents of an agent's inbox files, in delivery order. */
  inbox(agent: string): Array<Record<string, unknown> & { id: string; content: string }> {
    const directory = join(this.root, 'inbox', agent);
    if (!existsSync(directory)) return [];
    const names = readdirSync(directory).filter((name) => name.endsWith('.json'));
    return names.sort().map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')));
  }

  /** Asks the database, while the daemon runs or not; returns its rows. */
  query(sql: string): unknown[][] {
    const script =
      'import json, pathlib, sqlite3, sys; uri = pathlib.Path(sys.argv[1]).as_uri() + "?mode=ro"; ' +
      'print(json.dumps(sqlite3.connect(uri, uri=True).execute(sys.argv[2]).fetchall()))';
    return JSON.parse(execFileSync(program('python'), ['-c', script, this.database, sql], { encoding: 'utf8' }));
  }

  /** Asserts that an agent's messages in the database, and its inbox files, have exactly these contents, in order if wanted. */
  assertStored(agent: string, contents: readonly string[], { inOrder = false } = {}): void {
    const arranged = (found: string[]): string[] => (inOrder ? found : found.sort());
    const wanted = inOrder ? [...contents] : [...contents].sort();
    const rows = this.query(`SELECT content FROM messages WHERE recipient = '${agent}' ORDER BY id`);
    assert.deepEqual(arranged(rows.map(([content]) => String(content))), wanted, 'the database has each message once');
    assert.deepEqual(arranged(this.inbox(agent).map(({ content }) => content)), wanted, 'so has the inbox');
  }

  /** Closes the clients, ends the daemon and removes its directory. */
  async end(): Promise<void> {
    for (const room of this.#rooms) await room.close();
    await this.stop('SIGKILL');
    await waitUntil(() => removed(this.directory), 'the directory of the daemon is removed');
  }
}

/** Its workers end a moment after their supervisor, and may still write. */
function removed(directory: string): boolean {
  try {
    rmSync(directory, { recursive: true, force: true });
    return true;
  } catch {
    return false;
  }
}
