/** Requests — builds and checks the contract's requests from the program's options. Not here: responses (`conversion`). */

import { randomBytes } from 'node:crypto';

import type { Cursor } from './cursor.js';
import { invalidArgument } from './errors.js';
import type { Duration } from './generated/google/protobuf/duration.js';
import {
  type BroadcastMessageRequest,
  CheckInboxRequest,
  GetTrafficRequest,
  ListMessagesRequest,
  type DeliveryState as ProtoDeliveryState,
  Priority as ProtoPriority,
  SendMessageRequest,
  SetAliasRequest,
  SubscribeRequest,
} from './generated/mailroom/v1/mailroom.js';
import type { DeliveryState, Priority } from './messages.js';
import { checkedMetadata } from './metadata.js';
import type { Draft, InboxOptions, ListOptions, MessageOptions, SearchOptions, SubscribeOptions } from './options.js';

/** The most ids that one request takes; the daemon's limit. */
export const MAX_IDS = 1_000;
/** The largest request that the daemon accepts. */
export const MAX_REQUEST_BYTES = 16 << 20;

const MAX_BATCH = 256; // events in one response of a stream; it has up to 256 KiB anyway
const MAX_CONTENT_BYTES = 1 << 20; // of UTF-8; the daemon's limit
const MAX_DURATION_MS = 315_576_000_000_000; // ten thousand years: a protobuf Duration's limit

const PRIORITIES: Readonly<Record<Priority, ProtoPriority>> = {
  low: ProtoPriority.LOW,
  normal: ProtoPriority.NORMAL,
  high: ProtoPriority.HIGH,
  urgent: ProtoPriority.URGENT,
};

const STATES: readonly DeliveryState[] = ['stored', 'filed', 'offered', 'read', 'expired', 'overdue']; // from 1 on

/** Returns the request for one message; throws if a field is invalid or would not arrive unchanged. */
export function draftRequest(draft: Draft, defaultSender: string | undefined): SendMessageRequest {
  const request = messageRequest(draft.content, draft, defaultSender);
  return { ...request, recipient: text('recipient', draft.to) };
}

/** Returns the request for copies of one message. */
export function broadcastRequest(
  recipients: readonly string[],
  content: string,
  options: MessageOptions,
  defaultSender: string | undefined,
): BroadcastMessageRequest {
  const message = messageRequest(content, options, defaultSender);
  return { recipients: recipients.map((name) => text('recipients', name)), message };
}

/** Returns about how many bytes a request has, never fewer: its strings, and its metadata as JSON with some room. */
export function sizeOf(request: SendMessageRequest): number {
  const { content, recipient, sender, type, threadId, inReplyTo, idempotencyKey, metadata } = request;
  const texts = [content, recipient, sender, type, threadId, inReplyTo, idempotencyKey];
  const size = texts.reduce((sum, one) => sum + Buffer.byteLength(one) + 8, 0);
  // Each value of a Struct takes up to 12 bytes more than its JSON, which has two bytes for it at least.
  return size + (metadata ? 7 * Buffer.byteLength(JSON.stringify(metadata)) : 0);
}

/** Returns the request for unread messages. */
export function inboxRequest(agent: string, options: InboxOptions): CheckInboxRequest {
  return CheckInboxRequest.fromPartial({
    agent: text('agent', agent),
    limit: count('limit', options.limit),
    wait: duration('wait', options.waitMs),
    observe: options.observe ?? false,
    unofferedOnly: options.newOnly ?? false,
    newestFirst: options.newestFirst ?? false,
  });
}

/** Returns the request for one page of messages. */
export function listRequest(options: ListOptions & SearchOptions, pageToken: string): ListMessagesRequest {
  return ListMessagesRequest.fromPartial({
    agent: text('agent', options.agent ?? ''),
    unreadOnly: options.unreadOnly ?? false,
    threadId: text('thread_id', options.threadId ?? ''),
    query: text('query', options.query ?? ''),
    pageSize: count('page_size', options.pageSize),
    pageToken: text('page_token', pageToken),
    sender: text('sender', options.sender ?? ''),
    states: (options.states ?? []).map(protoState),
    previewBytes: count('preview_bytes', options.previewBytes),
  });
}

/** Returns the request for the numbers of a period's messages. */
export function trafficRequest(periodMs: number | undefined): GetTrafficRequest {
  return GetTrafficRequest.fromPartial({ period: duration('period', periodMs) });
}

/** Returns the request that sets an alias, or ends it if the lifetime is 0. */
export function aliasRequest(agent: string, session: string, ttlMs: number | undefined): SetAliasRequest {
  return SetAliasRequest.fromPartial({
    agent: text('agent', agent),
    session: text('session', session),
    ttl: duration('ttl', ttlMs),
  });
}

/** Returns the request that starts or resumes a stream at the cursor; without an agent it is for all agents. */
export function subscribeRequest(
  agent: string | undefined,
  options: SubscribeOptions,
  cursor: Cursor,
): SubscribeRequest {
  return SubscribeRequest.fromPartial({
    agent: text('agent', agent ?? ''),
    allAgents: agent === undefined,
    afterId: text('after_id', cursor.after ?? ''),
    includeUnread: cursor.unread,
    includeReceipts: options.receipts ?? false,
    observe: options.observe ?? false,
    maxBatch: MAX_BATCH,
    previewBytes: count('preview_bytes', options.previewBytes),
  });
}

/** Returns message ids in portions that one request takes. */
export function portions(ids: string | Iterable<string>): string[][] {
  const all = (typeof ids === 'string' ? [ids] : [...ids]).map((id) => text('message_ids', id));
  const starts = Array.from({ length: Math.ceil(all.length / MAX_IDS) }, (_, index) => index * MAX_IDS);
  return starts.map((start) => all.slice(start, start + MAX_IDS));
}

/** Returns a text unchanged; throws if UTF-8 cannot carry it. */
export function text(field: string, value: string): string {
  if (typeof value !== 'string') throw invalidArgument(`${field} is not a string`, 'REQUEST_MALFORMED', field);
  if (!value.isWellFormed()) throw invalidArgument(`${field} is not valid Unicode`, 'REQUEST_MALFORMED', field);
  return value;
}

/** Returns a number of entries; throws if it is not one. */
export function count(field: string, value: number | undefined): number {
  if (value === undefined) return 0;
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) return value;
  throw invalidArgument(`${field}: ${value} is not a number of entries`, 'LIMIT_INVALID', field);
}

/** Returns a key that nobody else has. It begins with the time, so that the daemon stores new keys side by side. */
function newKey(): string {
  return Date.now().toString(16).padStart(12, '0') + randomBytes(10).toString('hex');
}

function messageRequest(
  content: string,
  options: MessageOptions,
  defaultSender: string | undefined,
): SendMessageRequest {
  const { metadata, priority } = options;
  const request = SendMessageRequest.fromPartial({
    sender: sender(options.sender ?? defaultSender),
    content: checkedContent(content),
    type: text('type', options.type ?? 'text'),
    threadId: text('thread_id', options.threadId ?? ''),
    inReplyTo: text('in_reply_to', options.inReplyTo ?? ''),
    priority: priority === undefined ? ProtoPriority.UNSPECIFIED : protoPriority(priority),
    ttl: duration('ttl', options.ttlMs),
    replyBy: checkedTime(options.replyBy),
    idempotencyKey: text('idempotency_key', options.key ?? newKey()),
  });
  if (metadata !== undefined) request.metadata = checkedMetadata(metadata);
  const size = sizeOf(request) - Buffer.byteLength(content);
  if (size <= MAX_REQUEST_BYTES / 4) return request;
  const sentence = 'the fields of this message beside its content are too large: metadata may have 64 KiB as JSON';
  throw invalidArgument(sentence, metadata === undefined ? 'REQUEST_TOO_LARGE' : 'METADATA_TOO_LARGE', 'metadata');
}

function checkedContent(content: string): string {
  const size = Buffer.byteLength(text('content', content));
  if (size <= MAX_CONTENT_BYTES) return content;
  throw invalidArgument(
    `content has ${size} bytes, the limit is ${MAX_CONTENT_BYTES}: shorten or split it`,
    'CONTENT_TOO_LARGE',
    'content',
  );
}

function checkedTime(time: Date | undefined): Date | undefined {
  if (time === undefined || !Number.isNaN(time.getTime())) return time;
  throw invalidArgument('reply_by is not a time', 'REPLY_BY_INVALID', 'reply_by');
}

function sender(name: string | undefined): string {
  if (name !== undefined) return text('sender', name); // the daemon rejects an empty name
  const sentence = 'sender is missing: pass it with the message, set it for the client, or set MAILROOM_AGENT';
  throw invalidArgument(sentence, 'SENDER_INVALID', 'sender');
}

function protoState(state: Exclude<DeliveryState, 'unknown'>): ProtoDeliveryState {
  const index = STATES.indexOf(state);
  if (index >= 0) return (index + 1) as ProtoDeliveryState;
  const sentence = `${state} is not a delivery state; use one of ${STATES.join(', ')}`;
  throw invalidArgument(sentence, 'REQUEST_MALFORMED', 'states');
}

function protoPriority(priority: Priority): ProtoPriority {
  if (Object.hasOwn(PRIORITIES, priority)) return PRIORITIES[priority];
  const known = Object.keys(PRIORITIES).join(', ');
  throw invalidArgument(`${priority} is not a priority; use one of ${known}`, 'PRIORITY_INVALID', 'priority');
}

function duration(field: 'wait' | 'ttl' | 'period', ms: number | undefined): Duration | undefined {
  if (ms === undefined) return undefined;
  if (Number.isFinite(ms) && Math.abs(ms) <= MAX_DURATION_MS) {
    const seconds = Math.trunc(ms / 1000);
    return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
  }
  const reasons = { wait: 'WAIT_INVALID', ttl: 'TTL_INVALID', period: 'LIMIT_INVALID' } as const;
  throw invalidArgument(`${field}: ${ms} is not a number of milliseconds`, reasons[field], field);
}
