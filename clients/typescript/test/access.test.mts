import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Mailroom, MailroomError, type MailroomOptions } from 'mailroom-client';

import { Daemon, program } from './support/daemon.mjs';

/** Returns a port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

/** Creates an authority, a certificate for the daemon and one for a client, as docs/tls.md does. */
function createCertificates(directory: string): void {
  const script = `
    cd "$1"
    new_key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "$@"; }
    for name in ca other; do
      new_key -x509 -days 2 -subj "/CN=$name" -addext keyUsage=critical,keyCertSign,cRLSign -keyout $name.key -out $name.crt
    done
    printf 'subjectAltName=DNS:localhost\\nextendedKeyUsage=serverAuth\\n' > server.ext
    printf 'extendedKeyUsage=clientAuth\\n' > client.ext
    for name in server client; do
      new_key -subj "/CN=$name" -keyout $name.key -out $name.csr
      openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.crt
    done`;
  execFileSync('bash', ['-euc', script, 'bash', directory], { stdio: 'ignore' });
}

describe('over TCP', () => {
  const daemons: Daemon[] = [];
  const rooms: Mailroom[] = [];
  let plain: Daemon;
  let plainAddress: string;
  let secureAddress: string;
  let files: (name: string) => string;

  before(async () => {
    [plainAddress, secureAddress] = [`127.0.0.1:${await freePort()}`, `localhost:${await freePort()}`];
    plain = new Daemon(['--listen', plainAddress, '--client-rate', '100']);
    const { directory } = plain;
    files = (name) => join(directory, name);
    createCertificates(directory);
    const tls = [
      '--tls-cert',
      files('server.crt'),
      '--tls-key',
      files('server.key'),
      '--tls-client-ca',
      files('ca.crt'),
    ];
    const secure = new Daemon(['--listen', secureAddress, ...tls]);
    daemons.push(plain, secure);
    for (const daemon of daemons) {
      const where = ['--state-dir', daemon.stateDirectory];
      const create = (...rest: string[]): Buffer =>
        execFileSync(program('mailroom'), ['token', 'create', ...where, ...rest], {
          stdio: ['ignore', 'pipe', 'ignore'],
        });
      create('--agent', 'bob', '--save', join(daemon.directory, 'bob.token'));
      writeFileSync(join(daemon.directory, 'admin.token'), create('--admin'));
    }
    await Promise.all(daemons.map((daemon) => daemon.start()));
  });
  after(async () => {
    for (const room of rooms) await room.close();
    for (const daemon of daemons) await daemon.end();
  });

  function room(options: MailroomOptions): Mailroom {
    const one = new Mailroom({ sender: 'bob', graceMs: 30_000, ...options });
    rooms.push(one);
    return one;
  }

  test('a token says who a client is', async () => {
    const bob = room({ address: plainAddress, tokenFile: files('bob.token') });
    const { message } = await bob.send('alice', 'hello');
    assert.deepEqual([message.sender, message.senderVerified], ['bob', true]);
    const byText = room({ address: plainAddress, token: readFileSync(files('bob.token'), 'utf8') });
    await byText.checkInbox('bob');
  });

  test('without a token only the health is known', async () => {
    const nobody = room({ address: plainAddress });
    assert.equal(await nobody.health(), 'serving');
    await assert.rejects(nobody.checkInbox('bob'), {
      code: 'UNAUTHENTICATED',
      reason: 'TOKEN_MISSING',
      retryable: false,
    });
    await assert.rejects(room({ address: plainAddress, token: 'wrong' }).send('a', 'x'), { reason: 'TOKEN_INVALID' });
  });

  test('what a token does not allow fails alone, also among concurrent sends', async () => {
    const bob = room({ address: plainAddress, tokenFile: files('bob.token') });
    const senders = ['bob', 'bob', 'alice', 'bob'];
    const sends = senders.map((sender, index) => bob.send('alice', `mixed ${index}`, { sender }));
    const results = await Promise.allSettled(sends);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
    );
    const [, , refused] = results;
    assert.ok(refused?.status === 'rejected' && refused.reason instanceof MailroomError);
    assert.deepEqual([refused.reason.code, refused.reason.reason], ['PERMISSION_DENIED', 'NOT_YOURS']);
    await assert.rejects(bob.status(), { code: 'PERMISSION_DENIED', reason: 'ADMIN_ONLY' });
    const admin = room({ address: plainAddress, tokenFile: files('admin.token') });
    assert.ok((await admin.status()).workers.length > 0);
  });

  test('sends that are faster than allowed are slowed down, and none is lost', async () => {
    const bob = room({ address: plainAddress, tokenFile: files('bob.token') });
    const contents = Array.from({ length: 600 }, (_, index) => `fast ${index}`); // 500 are allowed at once
    await Promise.all(contents.map((content) => bob.send('slow', content)));
    plain.assertStored('slow', contents, { inOrder: true });
  });

  test('a subscription lives', async () => {
    const bob = room({ address: plainAddress, tokenFile: files('bob.token') });
    const subscription = bob.subscribe('bob');
    await subscription.ready();
    await bob.send('bob', 'to myself');
    for await (const event of subscription)
      if (event.kind === 'message' && event.message.content === 'to myself') break;
  });

  test('no proxy is used', async () => {
    let connections = 0;
    const proxy: Server = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = proxy.address();
    assert.ok(address !== null && typeof address === 'object');
    const names = ['http_proxy', 'https_proxy', 'grpc_proxy'];
    for (const name of names) process.env[name] = `http://127.0.0.1:${address.port}`;
    try {
      await room({ address: plainAddress, tokenFile: files('bob.token') }).checkInbox('bob');
      const socket = await Daemon.start();
      daemons.push(socket);
      assert.equal(await socket.room().health(), 'serving');
    } finally {
      for (const name of names) delete process.env[name];
      proxy.close();
    }
    assert.equal(connections, 0);
  });

  const secureFiles = (): MailroomOptions => ({
    address: secureAddress,
    tlsCa: files('ca.crt'),
    tlsCert: files('client.crt'),
    tlsKey: files('client.key'),
    token: readFileSync(join(daemons[1]?.directory ?? '', 'bob.token'), 'utf8'),
  });

  test('TLS with a client certificate', async () => {
    const bob = room(secureFiles());
    const subscription = bob.subscribe('bob');
    await subscription.ready();
    await Promise.all([bob.send('bob', 'one'), bob.send('bob', 'two')]);
    const inbox = await bob.checkInbox('bob');
    assert.deepEqual(
      inbox.messages.map(({ content }) => content),
      ['one', 'two'],
    );
    subscription.close();
  });

  test('TLS files and tokens can be given by variables', async () => {
    const { address, tlsCa, tlsCert, tlsKey, token } = secureFiles();
    const variables = {
      MAILROOM_ADDRESS: address,
      MAILROOM_AGENT: 'bob',
      MAILROOM_TLS_CA: tlsCa,
      MAILROOM_TLS_CLIENT_CERT: tlsCert,
      MAILROOM_TLS_CLIENT_KEY: tlsKey,
      MAILROOM_TOKEN: token,
    };
    Object.assign(process.env, variables);
    try {
      const bob = new Mailroom({ graceMs: 30_000 });
      rooms.push(bob);
      assert.equal((await bob.send('alice', 'x')).message.sender, 'bob');
      assert.equal(bob.address, address);
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
    }
  });

  test('a failed handshake says why, and is not repeated', async () => {
    const failures: [options: MailroomOptions, sentence: RegExp][] = [
      [{ tlsCa: files('other.crt') }, /not issued by a trusted authority/],
      [{ address: secureAddress.replace('localhost', '127.0.0.1') }, /does not cover this address/],
      [{ address: plainAddress }, /does not use TLS at this address/],
    ];
    for (const [options, sentence] of failures) {
      const call = room({ ...secureFiles(), ...options }).checkInbox('bob');
      await assert.rejects(call, { reason: 'TLS_FAILED', retryable: false, message: sentence });
    }
  });

  test('a client without TLS gets a hint', async () => {
    const call = room({ address: secureAddress, graceMs: 200 }).checkInbox('bob');
    await assert.rejects(call, { reason: 'DAEMON_NOT_RUNNING', message: /may require TLS/ });
  });

  test('a token is never sent unencrypted over a network', () => {
    const options = { address: '192.0.2.7:50051', token: 'secret' };
    assert.throws(() => new Mailroom(options), { reason: 'TLS_MISSING', message: /others on the network could read/ });
  });
});
