import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Mailroom } from 'mailroom-client';

import { givenAddress, grpcTarget, searchDaemon } from '#dist/addresses.js';

import { Daemon } from './support/daemon.mjs';

/** Listens on a Unix socket while something happens. */
async function listening<T>(path: string, use: () => Promise<T>): Promise<T> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    return await use();
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

describe('the search for the daemon', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync('/tmp/mrd-');
    for (const name of ['run/mailroom', 'state/mailroom', 'own', 'elsewhere']) {
      mkdirSync(join(directory, name), { recursive: true });
    }
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const environment = (): Record<string, string> => ({
    HOME: directory,
    XDG_RUNTIME_DIR: join(directory, 'run'),
    XDG_STATE_HOME: join(directory, 'state'),
  });
  const inRuntime = (): string => join(directory, 'run/mailroom/mailroom.sock');
  const inState = (): string => join(directory, 'state/mailroom/mailroom.sock');

  test('takes the first socket on which a process listens', async () => {
    const first = await listening(inRuntime(), () => listening(inState(), () => searchDaemon(environment())));
    assert.equal(first.text, `unix:${inRuntime()}`);
    const second = await listening(inState(), () => searchDaemon(environment()));
    assert.equal(second.text, `unix:${inState()}`);
    assert.match(second.tried.join(), /run\/mailroom\/mailroom.sock \(ENOENT\)/);
  });

  test('reads the addresses that the daemon wrote, sockets first', async () => {
    const elsewhere = join(directory, 'elsewhere/m.sock');
    const file = join(directory, 'state/mailroom/addresses');
    writeFileSync(file, JSON.stringify(['127.0.0.1:50051', `unix:${elsewhere}`]));
    try {
      const found = await listening(elsewhere, () => searchDaemon(environment()));
      assert.equal(found.text, `unix:${elsewhere}`);
      assert.equal((await searchDaemon(environment())).text, '127.0.0.1:50051');
      writeFileSync(file, '{}');
      assert.match((await searchDaemon(environment())).tried.join(), /not a JSON list of addresses/);
    } finally {
      rmSync(file);
    }
  });

  test('looks only into MAILROOM_STATE_DIR if it is set', async () => {
    const own = { ...environment(), MAILROOM_STATE_DIR: join(directory, 'own') };
    const found = await listening(inRuntime(), () => searchDaemon(own));
    assert.equal(found.text, `unix:${join(directory, 'own/mailroom.sock')}`);
  });

  test('names the most likely place if there is no daemon', async () => {
    const { text, tried } = await searchDaemon(environment());
    assert.equal(text, `unix:${inState()}`);
    assert.equal(tried.length, 3);
    const room = new Mailroom({ address: join(directory, 'nothing.sock'), sender: 'x', graceMs: 200 });
    await assert.rejects(room.checkInbox('a'), {
      reason: 'DAEMON_NOT_RUNNING',
      message: /nothing\.sock.*Start it with/,
    });
    await assert.rejects(room.send('a', 'x'), { reason: 'DAEMON_NOT_RUNNING', retryable: true });
    await assert.rejects(room.subscribe('a').ready(), { reason: 'DAEMON_NOT_RUNNING' });
    await assert.rejects(room.sendMany([{ to: 'a', content: 'x' }]).next(), { reason: 'DAEMON_NOT_RUNNING' });
    await room.close();
  });

  test('is not made if an address is given', () => {
    const given = { MAILROOM_ADDRESS: '[::1]:50051', HOME: '/home/me' };
    assert.equal(givenAddress('unix:///run/m.sock', given)?.text, 'unix:/run/m.sock');
    assert.equal(givenAddress('~/m.sock', given)?.text, 'unix:/home/me/m.sock');
    assert.equal(givenAddress('/run/../m.sock', given)?.text, 'unix:/m.sock');
    assert.equal(givenAddress(undefined, given)?.text, '[::1]:50051');
    assert.equal(givenAddress(undefined, {}), undefined);
    for (const wrong of ['host', 'host:', 'http://host:1', 'unix:', 'host:port', `/${'x'.repeat(107)}`]) {
      assert.throws(() => givenAddress(wrong, {}), { reason: 'ADDRESS_INVALID', field: 'address' });
    }
    const spaced = { text: 'unix:/tmp/a b%20c', tried: [] };
    assert.equal(grpcTarget(spaced), 'unix:///tmp/a b%20c');
  });
});

describe('a client without an address', () => {
  let daemon: Daemon;
  before(async () => {
    daemon = new Daemon([], 'mr n%20-'); // special characters in the path reach the socket unchanged
    await daemon.start();
  });
  after(() => daemon.end());

  const script = `
    const { Mailroom } = require(process.argv[1]);
    const room = new Mailroom({ sender: 'script', graceMs: 30000 });
    room.send('found', 'me').then(({ message }) => console.log(room.address, message.content));`;

  test('finds the daemon, and lets its program end by itself', async () => {
    const { PATH } = process.env;
    const env = { PATH, HOME: daemon.directory, MAILROOM_STATE_DIR: daemon.stateDirectory };
    const library = new URL('../dist/index.js', import.meta.url).pathname;
    const child = spawn(process.execPath, ['-e', script, library], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
    assert.equal(output, `${daemon.address} me\n`);
    daemon.assertStored('found', ['me']);
  });

  test('finds a daemon that has moved', async () => {
    process.env.MAILROOM_STATE_DIR = daemon.stateDirectory;
    const room = new Mailroom({ sender: 'mover' });
    try {
      await room.send('moved', 'before');
      const before = room.address;
      await daemon.stop();
      await daemon.start('--listen', `unix:${daemon.directory}/other.sock`);
      await room.send('moved', 'after');
      assert.notEqual(room.address, before);
      daemon.assertStored('moved', ['before', 'after'], { inOrder: true });
    } finally {
      delete process.env.MAILROOM_STATE_DIR;
      await room.close();
    }
  });
});
