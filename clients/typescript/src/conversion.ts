/** Conversion — converts the daemon's responses to this client's own values. Not here: requests (`requests`). */

import { codeName, MailroomError } from './errors.js';
import type { CommandResponse } from './events.js';
import type { Duration } from './generated/google/protobuf/duration.js';
import { HealthCheckResponse_ServingStatus as ServingStatus } from './generated/grpc/health/v1/health.js';
import {
  type GetMessageResponse,
  type GetStatusResponse,
  type GetTrafficResponse,
  type AgentInfo as ProtoAgentInfo,
  type CommandResponse as ProtoCommandResponse,
  type Delivery as ProtoDelivery,
  DeliveryState as ProtoDeliveryState,
  type HubStatus as ProtoHubStatus,
  type MailboxStats as ProtoMailboxStats,
  type Message as ProtoMessage,
  type MetricSample as ProtoMetricSample,
  Priority as ProtoPriority,
  type QueueStats as ProtoQueueStats,
  type Receipt as ProtoReceipt,
  type SendMessageResponse,
  type SendResult,
} from './generated/mailroom/v1/mailroom.js';
import type {
  Delivery,
  DeliveryState,
  JsonObject,
  Message,
  Priority,
  Receipt,
  SendOutcome,
  SentMessage,
  TrackedMessage,
} from './messages.js';
import type { AgentInfo, Health, HubStatus, MailboxStats, MetricSample, QueueStats, Status, Traffic } from './stats.js';

const STATES: Readonly<Partial<Record<number, DeliveryState>>> = {
  [ProtoDeliveryState.STORED]: 'stored',
  [ProtoDeliveryState.FILED]: 'filed',
  [ProtoDeliveryState.OFFERED]: 'offered',
  [ProtoDeliveryState.READ]: 'read',
  [ProtoDeliveryState.EXPIRED]: 'expired',
  [ProtoDeliveryState.OVERDUE]: 'overdue',
  [ProtoDeliveryState.RETURNED]: 'returned',
  [ProtoDeliveryState.QUEUED]: 'queued',
  [ProtoDeliveryState.FORWARDED]: 'forwarded',
};
const PRIORITIES: Readonly<Partial<Record<number, Priority>>> = {
  [ProtoPriority.UNSPECIFIED]: 'normal',
  [ProtoPriority.LOW]: 'low',
  [ProtoPriority.NORMAL]: 'normal',
  [ProtoPriority.HIGH]: 'high',
  [ProtoPriority.URGENT]: 'urgent',
};
const HEALTH: Readonly<Partial<Record<number, Health>>> = {
  [ServingStatus.SERVING]: 'serving',
  [ServingStatus.NOT_SERVING]: 'notServing',
};

/** Converts a message. */
export function messageFrom(message: ProtoMessage): Message {
  const { id, recipient, sender, content, type, read, senderVerified } = message;
  return {
    id,
    recipient,
    sender,
    content,
    type,
    timestamp: moment(message.timestamp),
    read,
    metadata: (message.metadata ?? {}) as JsonObject,
    ...(message.threadId && { threadId: message.threadId }),
    ...(message.inReplyTo && { inReplyTo: message.inReplyTo }),
    priority: PRIORITIES[message.priority] ?? 'unknown',
    ...(message.expiresAt && { expiresAt: message.expiresAt }),
    ...(message.replyBy && { replyBy: message.replyBy }),
    state: stateFrom(message.state),
    senderVerified,
    ...(message.contentSize && { contentSize: message.contentSize }),
  };
}

/** Converts the response to a send. */
export function sentFrom(response: SendMessageResponse): SentMessage {
  const { message, delivery } = response;
  if (message === undefined || delivery === undefined) throw incomplete();
  return { message: messageFrom(message), delivery: deliveryFrom(delivery) };
}

/** Converts one result of several. */
export function outcomeFrom(recipient: string, result: SendResult | undefined): SendOutcome {
  if (result?.result?.$case === 'ok') return { ok: true, recipient, ...sentFrom(result.result.value) };
  if (result?.result?.$case !== 'error') return { ok: false, recipient, error: incomplete() };
  const { code, reason, message, field, retryDelay } = result.result.value;
  const details = { reason, field: field || undefined, retryAfterMs: milliseconds(retryDelay) };
  return { ok: false, recipient, error: new MailroomError(message, codeName(code), details) };
}

/** Converts a message with its history. */
export function trackedFrom(response: GetMessageResponse): TrackedMessage {
  return { ...sentFrom(response), history: response.history.map(receiptFrom) };
}

/** Converts a receipt. */
export function receiptFrom(receipt: ProtoReceipt): Receipt {
  const { messageId, recipient, state, timestamp, by, reason } = receipt;
  const details = { ...(by && { by }), ...(reason && { reason }) };
  return { messageId, recipient, state: stateFrom(state), timestamp: moment(timestamp), ...details };
}

/** Converts a response from an outbox; a large one comes as text. */
export function commandResponseFrom(response: ProtoCommandResponse): CommandResponse {
  const { sessionId, fileName, timestamp, body, bodyJson } = response;
  const parsed = body ?? (bodyJson ? JSON.parse(bodyJson) : {});
  return { sessionId, fileName, body: parsed as JsonObject, timestamp: moment(timestamp) };
}

/** Converts the message counts of a mailbox. */
export function mailboxStatsFrom(stats: ProtoMailboxStats): MailboxStats {
  const { agentId, total, unread, oldestUnreadAgeSec, subscribers, lastSeen } = stats;
  const age = { oldestUnreadAgeMs: oldestUnreadAgeSec * 1000 };
  return { agent: agentId, total, unread, ...age, subscribers, ...(lastSeen && { lastSeen }) };
}

/** Converts the number of a session's pending inbox files. */
export function queueStatsFrom(stats: ProtoQueueStats): QueueStats {
  return { session: stats.sessionId, pending: stats.pendingCount, oldestAgeMs: stats.oldestAgeSec * 1000 };
}

/** Converts an agent. */
export function agentFrom(agent: ProtoAgentInfo): AgentInfo {
  const { name, alive, lastSeen, subscribers, unread, sessions, host } = agent;
  return { name, alive, ...(lastSeen && { lastSeen }), subscribers, unread, sessions, ...(host && { host }) };
}

/** Converts the state of the daemon. */
export function statusFrom(response: GetStatusResponse): Status {
  const { version, startedAt, workers, keepRead, maxUnread, hub } = response;
  const keepReadMs = milliseconds(keepRead);
  return {
    version,
    ...(startedAt && { startedAt }),
    workers: workers.map(({ startedAt: since, ...worker }) => ({ ...worker, ...(since && { startedAt: since }) })),
    ...(keepReadMs !== undefined && { keepReadMs }),
    ...(maxUnread && { maxUnread }),
    ...(hub && { hub: hubFrom(hub) }),
  };
}

function hubFrom(hub: ProtoHubStatus): HubStatus {
  const { host, connected, lastContact, problem } = hub;
  const hosts = hub.hosts.map(({ lastSeen, ...other }) => ({ ...other, ...(lastSeen && { lastSeen }) }));
  return { host, connected, ...(lastContact && { lastContact }), problem, hosts };
}

/** Converts the numbers of messages by sender and recipient. */
export function trafficFrom(response: GetTrafficResponse): Traffic {
  const { pairs, since, messages } = response;
  return { pairs, ...(since && { since }), messages };
}

/** Converts a metric sample. */
export function metricFrom(sample: ProtoMetricSample): MetricSample {
  return { name: sample.name, labels: Object.fromEntries(sample.labels), value: sample.value };
}

/** Converts the answer of the standard health service. */
export function healthFrom(status: ServingStatus): Health {
  return HEALTH[status] ?? 'unknown';
}

/** Returns a Duration in milliseconds. */
export function milliseconds(duration: Duration | undefined): number | undefined {
  return duration && duration.seconds * 1000 + duration.nanos / 1e6;
}

function deliveryFrom(delivery: ProtoDelivery): Delivery {
  const { inboxFileError, teamInboxError, subscribers, recipientKnown, recipientLastSeen, reason, alsoAt } = delivery;
  return {
    state: stateFrom(delivery.state),
    ...(inboxFileError && { inboxFileError }),
    ...(teamInboxError && { teamInboxError }),
    subscribers,
    recipientKnown,
    ...(recipientLastSeen && { recipientLastSeen }),
    ...(reason && { reason }),
    ...(alsoAt.length > 0 && { alsoAt }),
  };
}

function stateFrom(state: ProtoDeliveryState): DeliveryState {
  return STATES[state] ?? 'unknown';
}

function moment(timestamp: Date | undefined): Date {
  return timestamp ?? new Date(Number.NaN);
}

function incomplete(): MailroomError {
  return new MailroomError('the daemon sent an incomplete response: restart it after an upgrade', 'INTERNAL');
}
