// The adapter for the TypeScript SDK.
import { readFileSync } from 'node:fs';
import { Mailroom, MailroomError } from '../../../typescript/dist/index.mjs';
import { cancellable, serve } from './lines.mjs';

const rooms = new Map();
const ms = (duration) => (duration === undefined ? undefined : Number.parseFloat(duration) * 1000);
const lower = (name) => (typeof name === 'string' ? name.replace(/^PRIORITY_/, '').toLowerCase() : name);

function sendOptions(request) {
  const { recipient, content, ttl, replyBy, idempotencyKey, priority, ...same } = request;
  return { ...same, ttlMs: ms(ttl), replyBy: replyBy && new Date(replyBy), key: idempotencyKey, priority: lower(priority) };
}

/** The SDK's values as proto3 JSON has them: times as text, long names of enums. */
function proto(value) {
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(proto);
  if (typeof value !== 'object' || value === null) return value;
  const result = {};
  for (const [key, one] of Object.entries(value)) {
    if (key === 'metadata' || key === 'body') result[key] = one;
    else if (key === 'state') result[key] = `DELIVERY_STATE_${one.toUpperCase()}`;
    else if (key === 'priority') result[key] = `PRIORITY_${one.toUpperCase()}`;
    else result[key] = proto(one);
  }
  return result;
}

function errorOf(error) {
  if (error?.name === 'AbortError') return { code: 'CANCELLED', message: 'cancelled by the program' };
  if (!(error instanceof MailroomError)) throw error;
  const { code, message, reason, field = '', retryAfterMs } = error;
  return { code, message, reason, field, ...(retryAfterMs === undefined ? {} : { retry_ms: retryAfterMs }) };
}

const outcome = (one) => (one.ok ? { ok: { message: proto(one.message), delivery: proto(one.delivery) } } : { error: errorOf(one.error) });

const calls = {
  SendMessage: async (room, q, o) => proto(await room.send(q.recipient ?? '', q.content ?? '', { ...sendOptions(q), ...o })),
  CheckInbox: async (room, q, o) =>
    proto(await room.checkInbox(q.agent ?? '', { ...q, ...o, waitMs: ms(q.wait), newOnly: q.unofferedOnly })),
  AcknowledgeMessages: async (room, q, o) => {
    const { acknowledged, unknown } = await room.acknowledge(q.agent, q.messageIds, o);
    return { acknowledgedIds: acknowledged, unknownIds: unknown };
  },
  MarkOffered: async (room, q, o) => (await room.markOffered(q.agent, q.messageIds, o), {}),
  GetMessage: async (room, q, o) => proto(await room.get(q.id ?? '', o)),
  ListMessages: async (room, q, o) => {
    for await (const page of room.list(q.agent, { ...q, ...o }).pages()) return { messages: proto(page.items), nextPageToken: page.nextPageToken };
    return {};
  },
  ClearMailbox: async (room, q, o) => ({ deleted: await room.clear(q.agent, o) }),
  BroadcastMessage: async (room, q, o) => ({
    results: (await room.broadcast(q.recipients, q.message.content ?? '', { ...sendOptions(q.message), ...o })).map(outcome),
  }),
  GetMailboxStats: async (room, q, o) => {
    const boxes = await room.mailboxStats(q.agent, o).toArray();
    return { mailboxes: boxes.map(({ agent, ...counts }) => ({ agentId: agent, ...proto(counts) })) };
  },
  GetQueueStats: async (room, q, o) => {
    const queues = await room.queueStats(q.sessionId, o).toArray();
    return { queues: queues.map(({ session, pending }) => ({ sessionId: session, pendingCount: pending })) };
  },
  ListAgents: async (room, q, o) => ({ agents: proto(await room.agents({ ...q, ...o }).toArray()) }),
  SetAlias: async (room, q, o) => {
    if (Number.parseFloat(q.ttl) === 0) return (await room.endAlias(q.agent, q.session, o), {});
    return proto({ expiresAt: await room.setAlias(q.agent ?? '', q.session ?? '', { ...o, ttlMs: ms(q.ttl) }) });
  },
  GetStatus: async (room, _, o) => proto(await room.status(o)),
};

function eventOf(event) {
  if (event.kind === 'caughtUp') return { caughtUp: {}, eventId: event.eventId };
  const key = event.kind === 'response' ? 'commandResponse' : event.kind;
  return { [key]: proto(event[event.kind]), eventId: event.eventId };
}

async function stream(room, { agent, afterId, includeUnread, includeReceipts, observe }, write, signal) {
  const options = { after: afterId, unread: includeUnread, receipts: includeReceipts, observe, signal };
  for await (const event of room.subscribe(agent ?? '', options)) write({ event: eventOf(event) });
  return { end: { code: 'OK' } };
}

async function bulk(room, { requests }, options) {
  const drafts = requests.flatMap(({ messages }) => messages.map((one) => ({ ...sendOptions(one), to: one.recipient, content: one.content })));
  const results = [];
  for await (const one of room.sendMany(drafts, options)) results.push(outcome(one));
  return { responses: [{ results }] };
}

async function run(line, write, signal) {
  const options = { timeoutMs: line.timeout_ms, signal };
  try {
    if (line.op === 'open') {
      const { target, token, ca, cert, key } = line;
      rooms.set(line.name, new Mailroom({ address: target, token, tlsCa: ca, tlsCert: cert, tlsKey: key }));
      return {};
    }
    const room = rooms.get(line.on);
    if (line.op === 'stream') return await stream(room, line.request, write, signal);
    if (line.op === 'bulk') return await bulk(room, line, options);
    if (line.raw) return { unsupported: "the SDK sends no bytes of the program's own" };
    const request = line.nan ? { ...line.request, metadata: { 'not a number': Number.NaN } } : line.request;
    return { ok: await calls[line.method](room, request, options) };
  } catch (error) {
    return { [line.op === 'stream' ? 'end' : 'error']: errorOf(error) };
  }
}

function handle(line, write) {
  const controller = new AbortController();
  return cancellable(line.id, () => controller.abort(), run(line, write, controller.signal));
}

const { version } = JSON.parse(readFileSync(new URL('../../../typescript/package.json', import.meta.url)));
serve({ library: 'mailroom-client', version, kind: 'sdk' }, handle);
