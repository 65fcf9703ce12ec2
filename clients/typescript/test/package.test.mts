import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Daemon } from './support/daemon.mjs';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

const IDENTITY = `
import { createRequire } from 'node:module';
import { MailroomError } from 'mailroom-client';
console.log(createRequire(import.meta.url)('mailroom-client').MailroomError === MailroomError);`;

const TYPES = `
const room = new Mailroom({ sender: 'types' });
export const state: Promise<DeliveryState> = room.send('a', 'b', { priority: 'high', signal: undefined }).then((s) => s.delivery.state);
export async function contents(): Promise<string[]> {
  await using own = new Mailroom();
  const found: string[] = [];
  for await (const event of own.subscribe('a')) if (event.kind === 'message') found.push(event.message.content);
  for await (const outcome of own.sendMany([{ to: 'a', content: 'b' }])) found.push(outcome.ok ? outcome.message.id : outcome.error.reason);
  return found;
}
// @ts-expect-error there is no such priority
void room.send('a', 'b', { priority: 'soon' });`;

describe('the package', () => {
  let directory: string;
  let daemon: Daemon;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    directory = mkdtempSync('/tmp/mrp-');
    daemon = new Daemon();
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'];
    const packed = execFileSync('npm', ['pack', '--pack-destination', directory, '--json', ...quiet], { cwd: PACKAGE });
    const [{ filename }] = JSON.parse(packed.toString());
    writeFileSync(join(directory, 'package.json'), '{"private": true}');
    const install = ['install', `./${filename}`, '--prefer-offline', ...quiet];
    await Promise.all([daemon.start(), run('npm', install, { cwd: directory })]);
    env = { PATH: process.env.PATH, HOME: daemon.directory, MAILROOM_ADDRESS: daemon.address };
  });
  after(async () => {
    await daemon.end();
    rmSync(directory, { recursive: true, force: true });
  });

  async function runScript(name: string, content: string): Promise<string> {
    writeFileSync(join(directory, name), content);
    return (await run(process.execPath, [name], { cwd: directory, env })).stdout;
  }

  test('works with import: the example of its README', async () => {
    const [, example] = /```js\n(import .*?)```/s.exec(readFileSync(join(PACKAGE, 'README.md'), 'utf8')) ?? [];
    assert.ok(example);
    assert.match(await runScript('first.mjs', example), /^[0-9a-f]{16} filed\ndashboard go\n$/);
  });

  test('works with require', async () => {
    const script = `
      const { Mailroom } = require('mailroom-client');
      const room = new Mailroom({ sender: 'require' });
      room.send('required', 'x').then(({ message }) => console.log(message.sender));`;
    assert.equal(await runScript('required.cjs', script), 'require\n');
  });

  test('is one and the same for both', async () => {
    assert.equal(await runScript('both.mjs', IDENTITY), 'true\n');
  });

  test('has types for both', async () => {
    const compilerOptions = {
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      types: [],
    };
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['a.mts', 'b.cts'] }));
    const named = "import { type DeliveryState, Mailroom } from 'mailroom-client';";
    writeFileSync(join(directory, 'a.mts'), named + TYPES);
    writeFileSync(join(directory, 'b.cts'), named + TYPES);
    const compiler = join(PACKAGE, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [compiler, '-p', directory], { cwd: directory }).catch(({ stdout }) =>
      assert.fail(stdout),
    );
  });

  test('holds what is needed, and no more', async () => {
    const listed = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: PACKAGE });
    const [{ files }] = JSON.parse(listed.stdout);
    const names: string[] = files.map(({ path }: { path: string }) => path);
    for (const name of [
      'LICENSE',
      'README.md',
      'dist/index.js',
      'dist/index.mjs',
      'dist/index.d.ts',
      'dist/index.d.mts',
    ]) {
      assert.ok(names.includes(name), `${name} is there`);
    }
    assert.ok(names.every((name) => /^(dist\/|LICENSE$|README\.md$|package\.json$)/.test(name)));
  });

  test('carries the example agent, which ends in order', async () => {
    copyFileSync(join(PACKAGE, 'examples/agent.mjs'), join(directory, 'agent.mjs'));
    const agent = spawn(process.execPath, ['agent.mjs', 'counter'], {
      cwd: directory,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const room = daemon.room();
    const { message } = await room.send('counter', 'how many words are these');
    const { messages } = await room.checkInbox('tester', { waitMs: 30_000 });
    const [answer] = messages;
    assert.deepEqual([answer?.content, answer?.inReplyTo], ['5 words', message.id]);
    for await (const event of room.subscribe('tester', { after: '0'.repeat(16), receipts: true })) {
      if (event.kind === 'receipt' && event.receipt.messageId === message.id && event.receipt.state === 'read') break;
    }
    agent.kill('SIGINT');
    assert.deepEqual(await once(agent, 'exit'), [0, null]);
  });
});
