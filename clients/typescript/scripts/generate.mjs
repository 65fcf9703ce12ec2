// generate — writes src/generated from the contract with ts-proto. `--check` only compares, and fails if it is not up to date.
//
// Needs `buf`: the one of the project's .venv (`make setup`), or the one that BUF names. Each file's header names the
// generator and its version, that of the contract also its digest. The google.rpc and health protos in protos/ are the published ones.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CONTRACT = 'mailroom/v1/mailroom.proto';
const here = new URL('..', import.meta.url).pathname;
const target = join(here, 'src/generated');
const ownBuf = join(here, '../../.venv/bin/buf');
const buf = process.env.BUF ?? (existsSync(ownBuf) ? ownBuf : 'buf');

const options = [
  'env=node',
  'esModuleInterop=true',
  'forceLong=number', // counts and seconds, all below 2^53
  'importSuffix=.js',
  'oneof=unions-value',
  'outputJsonMethods=false',
  'outputServices=generic-definitions',
  'removeEnumPrefix=true',
  'useDate=true',
  'useExactTypes=false',
  'useMapType=true', // a Map keeps the key __proto__ apart from an object's prototype
];
const plugin = { local: join(here, 'node_modules/.bin/protoc-gen-ts_proto'), opt: options };
const details = ['google.rpc.BadRequest', 'google.rpc.ErrorInfo', 'google.rpc.RetryInfo', 'google.rpc.Status'];
const inputs = [
  { directory: join(here, '../../protos') },
  { directory: join(here, 'protos'), types: [...details, 'grpc.health.v1.Health'] },
];

function generate(out) {
  const template = {
    version: 'v2',
    inputs,
    plugins: [{ ...plugin, out, include_imports: true, include_wkt: true }],
  };
  execFileSync(buf, ['generate', '--template', JSON.stringify(template)], {
    cwd: here,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  edit(join(out, 'google/protobuf/struct.ts'), mended);
  edit(join(out, 'mailroom/v1/mailroom.ts'), (text) => `// Contract: protos/${CONTRACT}, sha256 ${digest()}\n${text}`);
}

function edit(file, change) {
  writeFileSync(file, change(readFileSync(file, 'utf8')));
}

function digest() {
  return createHash('sha256')
    .update(readFileSync(join(here, '../../protos', CONTRACT)))
    .digest('hex');
}

/** ts-proto assigns the keys of a Struct, and would lose the key __proto__: it is defined instead. */
function mended(text) {
  const assignment = 'object[key] = message.fields.get(key);';
  if (!text.includes(assignment))
    throw new Error(`struct.ts does not contain ${assignment}: look at what ts-proto writes now`);
  const definition =
    'globalThis.Object.defineProperty(object, key, {\n          value: message.fields.get(key),\n' +
    '          configurable: true,\n          enumerable: true,\n          writable: true,\n        });';
  return text.replace(assignment, definition);
}

function sources(directory) {
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .sort();
}

function differences(found, wanted) {
  const names = new Set([...sources(found), ...sources(wanted)]);
  return [...names].filter((name) => {
    const files = [join(found, name), join(wanted, name)];
    return !files.every(existsSync) || readFileSync(files[0], 'utf8') !== readFileSync(files[1], 'utf8');
  });
}

const out = mkdtempSync(join(here, '.generated-'));
try {
  generate(out);
  if (process.argv.includes('--check')) {
    const different = existsSync(target) ? differences(target, out) : ['src/generated'];
    if (different.length > 0) {
      console.error(`Not what the contract says: ${different.join(', ')}. Run npm run generate.`);
      process.exitCode = 1;
    }
  } else {
    rmSync(target, { recursive: true, force: true });
    renameSync(out, target);
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
