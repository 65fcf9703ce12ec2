/** Message — one message, and the results of calls about messages. All times are UTC, all ids are strings. */

import type { MailroomError } from './errors.js';

/** A value that JSON can hold. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** A JSON object. */
export type JsonObject = { [key: string]: JsonValue };

/** The priority that the sender gives a message. */
export type Priority = 'low' | 'normal' | 'high' | 'urgent';

/**
 * How far a message has come: durable; durable with its inbox file; shown to its recipient; acknowledged; its lifetime ended
 * while it was unread. Of receipts only: `'overdue'`, there was no answer in time. `'unknown'` is a state that only a newer daemon has.
 */
export type DeliveryState =
  | 'stored'
  | 'filed'
  | 'offered'
  | 'read'
  | 'expired'
  | 'overdue'
  | 'returned'
  | 'queued'
  | 'forwarded'
  | 'unknown';

/** One message. */
export interface Message {
  /** 16 lowercase hex digits; ids sort in delivery order. */
  id: string;
  /** A session id, or `agent@team`. */
  recipient: string;
  sender: string;
  content: string;
  /** `'text'` unless the sender gave another. */
  type: string;
  /** When the daemon accepted it. */
  timestamp: Date;
  read: boolean;
  metadata: JsonObject;
  threadId?: string;
  /** The id of the message that this one answers. */
  inReplyTo?: string;
  priority: Priority | 'unknown';
  /** Absent if it never expires. */
  expiresAt?: Date;
  /** By when the sender wants an answer. */
  replyBy?: Date;
  state: DeliveryState;
  /** The sender proved its name with its own token. */
  senderVerified: boolean;
  /** The size of the whole content, where a list shortened it (`previewBytes`). */
  contentSize?: number;
}

/** The delivery of one message. */
export interface Delivery {
  state: DeliveryState;
  /** Why the inbox file does not exist yet. */
  inboxFileError?: string;
  /** The same for the native team inbox of an `agent@team` recipient. */
  teamInboxError?: string;
  /** The number of live subscribers that it was announced to. */
  subscribers: number;
  /** The recipient has subscribed, checked its inbox or sent before. */
  recipientKnown: boolean;
  recipientLastSeen?: Date;
  /** Why another host has returned the message. */
  reason?: string;
  /** If the recipient is not known on this host: others that list an agent of its name. */
  alsoAt?: string[];
}

/** A message that is durable, with its delivery. */
export interface SentMessage {
  message: Message;
  delivery: Delivery;
}

/**
 * The outcome for one recipient of a broadcast, or for one draft of a bulk send. After a broadcast, `message` has neither
 * content nor metadata.
 */
export type SendOutcome =
  | ({ ok: true; recipient: string } & SentMessage)
  | { ok: false; recipient: string; error: MailroomError };

/** One step of a message, for its sender. */
export interface Receipt {
  messageId: string;
  recipient: string;
  state: DeliveryState;
  timestamp: Date;
  /** Who acknowledged the message in its recipient's place. */
  by?: string;
  /** Why the message was returned. */
  reason?: string;
}

/** A message with its delivery and its history. */
export interface TrackedMessage extends SentMessage {
  history: Receipt[];
}

/** Unread messages. */
export interface Inbox {
  messages: Message[];
  /** Further unread messages remain. */
  more: boolean;
}

/** The ids that are read now, and those that the mailbox does not contain. */
export interface Acknowledgement {
  acknowledged: string[];
  unknown: string[];
}
