/** The client of Mailroom: durable messages between software agents on one machine. */

export { type ClientReason, type Code, type ErrorReason, MailroomError, type Reason } from './errors.js';
export type { CaughtUpEvent, CommandResponse, Event, MessageEvent, ReceiptEvent, ResponseEvent } from './events.js';
export { Mailroom } from './mailroom.js';
export type {
  Acknowledgement,
  Delivery,
  DeliveryState,
  Inbox,
  JsonObject,
  JsonValue,
  Message,
  Priority,
  Receipt,
  SendOutcome,
  SentMessage,
  TrackedMessage,
} from './messages.js';
export type {
  AccessOptions,
  AcknowledgeOptions,
  AgentsOptions,
  AliasOptions,
  CallOptions,
  ClearOptions,
  Draft,
  InboxOptions,
  ListOptions,
  MailroomOptions,
  MessageOptions,
  PageOptions,
  ReplyOptions,
  SearchOptions,
  SendOptions,
  SubscribeOptions,
  TrafficOptions,
} from './options.js';
export { Listing, type Page } from './pages.js';
export type {
  AgentInfo,
  Health,
  HostStatus,
  HubStatus,
  MailboxStats,
  MetricSample,
  PairTraffic,
  QueueStats,
  Status,
  Traffic,
  WorkerStatus,
} from './stats.js';
export { Subscription } from './subscription.js';
