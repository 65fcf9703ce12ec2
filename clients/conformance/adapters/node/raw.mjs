// The adapter for grpc-js with protobuf-es: what a Node program without the SDK has. Argument: the contract's descriptors.
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import { DurationSchema, FileDescriptorSetSchema, StructSchema } from '@bufbuild/protobuf/wkt';
import grpc from '@grpc/grpc-js';
import { cancellable, serve } from './lines.mjs';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.argv[2])));
const services = ['mailroom.v1.MailboxService', 'mailroom.v1.SupervisorService'].map((name) => registry.getService(name));
const methods = new Map(services.flatMap((service) => service.methods.map((method) => [method.name, method])));
const connections = new Map();

function open({ name, target, token, ca, cert, key, keepalive_ms }) {
  const read = (file) => (file ? readFileSync(file) : null);
  const credentials = ca ? grpc.credentials.createSsl(read(ca), read(key), read(cert)) : grpc.credentials.createInsecure();
  const options = { 'grpc.enable_http_proxy': 0, 'grpc.max_receive_message_length': 8 << 20 };
  if (keepalive_ms) Object.assign(options, { 'grpc.keepalive_time_ms': keepalive_ms, 'grpc.keepalive_permit_without_calls': 1 });
  const metadata = new grpc.Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  connections.set(name, { client: new grpc.Client(target, credentials, options), metadata });
  return {};
}

/** The fields of google.rpc.Status and its details, by hand: protobuf in a trailer, which grpc-js leaves as bytes. */
function* fields(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const varint = () => {
      let value = 0;
      for (let scale = 1; ; scale *= 128) {
        const byte = bytes[at++];
        value += (byte & 127) * scale;
        if (byte < 128) return value;
      }
    };
    const tag = varint();
    const value = varint();
    yield (tag & 7) === 2 ? [tag >> 3, bytes.subarray(at, (at += value))] : [tag >> 3, value];
  }
}
const text = (bytes) => Buffer.from(bytes).toString();
const strings = (bytes) => Object.fromEntries([...fields(bytes)].map(([number, value]) => [number, text(value)]));

function errorOf(error) {
  const found = { code: grpc.status[error.code] ?? String(error.code), message: error.details ?? String(error), reason: '', field: '' };
  const [status] = error.metadata?.get('grpc-status-details-bin') ?? [];
  for (const [number, detail] of status ? fields(status) : []) {
    if (number !== 3) continue;
    const any = Object.fromEntries(fields(detail));
    const type = text(any[1]);
    if (type.endsWith('ErrorInfo')) Object.assign(found, { reason: strings(any[2])[1], domain: strings(any[2])[2] });
    if (type.endsWith('BadRequest')) for (const [, violation] of fields(any[2])) found.field ||= strings(violation)[1];
    if (type.endsWith('RetryInfo')) {
      const { seconds, nanos } = fromBinary(DurationSchema, [...fields(any[2])][0][1]);
      found.retry_ms = Number(seconds) * 1000 + nanos / 1e6;
    }
  }
  return found;
}

function requestOf(line, method) {
  if (line.raw) return Buffer.from(line.raw, 'base64');
  const request = fromJson(method.input, line.request, { registry });
  const bytes = Buffer.from(toBinary(method.input, request));
  if (!line.nan) return bytes;
  const entry = { fields: { 'not a number': { kind: { case: 'numberValue', value: Number.NaN }, $typeName: 'google.protobuf.Value' } } };
  const struct = toBinary(StructSchema, { $typeName: 'google.protobuf.Struct', ...entry });
  return Buffer.concat([bytes, Buffer.from([(5 << 3) | 2, struct.length]), struct]); // field 5: metadata
}

async function handle(line, write) {
  if (line.op === 'open') return open(line);
  const method = methods.get(line.method ?? 'SendMessages');
  const { client, metadata } = connections.get(line.on);
  const options = line.timeout_ms ? { deadline: Date.now() + line.timeout_ms } : {};
  const path = `/${method.parent.typeName}/${method.name}`;
  const decode = (bytes) => toJson(method.output, fromBinary(method.output, bytes), { registry });
  const same = (bytes) => bytes;
  if (line.op === 'unary') {
    let call;
    const answer = new Promise((resolve) => {
      call = client.makeUnaryRequest(path, same, decode, requestOf(line, method), metadata, options, (error, ok) =>
        resolve(error ? { error: errorOf(error) } : { ok }),
      );
    });
    return cancellable(line.id, () => call.cancel(), answer);
  }
  const call =
    line.op === 'stream'
      ? client.makeServerStreamRequest(path, same, decode, requestOf(line, method), metadata, options)
      : client.makeBidiStreamRequest(path, same, decode, metadata, options);
  const responses = [];
  const end = new Promise((resolve) => {
    call.on('data', (one) => (line.op === 'stream' ? write({ event: one }) : responses.push(one)));
    call.on('error', (error) => resolve(line.op === 'stream' ? { end: errorOf(error) } : { error: errorOf(error) }));
    call.on('end', () => setImmediate(() => resolve(line.op === 'stream' ? { end: { code: 'OK' } } : { responses })));
  });
  if (line.op === 'bulk') {
    for (const request of line.requests) call.write(Buffer.from(toBinary(method.input, fromJson(method.input, request, { registry }))));
    call.end();
  }
  return cancellable(line.id, () => call.cancel(), end);
}

const { version } = JSON.parse(readFileSync(new URL('./node_modules/@grpc/grpc-js/package.json', import.meta.url)));
serve({ library: 'grpc-js', version, kind: 'library' }, handle);
