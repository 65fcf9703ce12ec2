/** Options — what the program may pass to the client and to each call. Times are in milliseconds. */

import type { MailroomError } from './errors.js';
import type { DeliveryState, Priority } from './messages.js';

/** A client's credentials. Each option defaults to an environment variable, then to none. */
export interface AccessOptions {
  /** The token (MAILROOM_TOKEN). */
  token?: string | undefined;
  /** A file with the token (MAILROOM_TOKEN_FILE). */
  tokenFile?: string | undefined;
  /** A PEM file with the authorities that may issue the daemon's certificate; turns on TLS over TCP (MAILROOM_TLS_CA). */
  tlsCa?: string | undefined;
  /** A PEM file with this client's certificate chain, for mutual TLS (MAILROOM_TLS_CLIENT_CERT). */
  tlsCert?: string | undefined;
  /** A PEM file with the private key of `tlsCert` (MAILROOM_TLS_CLIENT_KEY). */
  tlsKey?: string | undefined;
}

/** The options of a client. All are optional. */
export interface MailroomOptions extends AccessOptions {
  /** `unix:PATH`, an absolute path, or `HOST:PORT`; located automatically by default. */
  address?: string | undefined;
  /** The name to send under; MAILROOM_AGENT by default. */
  sender?: string | undefined;
  /** The time for one call including its retries, unless the call has its own: 30 s by default. */
  timeoutMs?: number | undefined;
  /** How long to look for a daemon that has never answered: 2 s by default. */
  graceMs?: number | undefined;
}

/** The options of every call. */
export interface CallOptions {
  /** The time for all attempts together; the client's by default. */
  timeoutMs?: number | undefined;
  /** Ends the call when it is aborted: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** The optional fields of a message. */
export interface MessageOptions {
  /** The client's sender by default. */
  sender?: string | undefined;
  /** `'text'` by default. */
  type?: string | undefined;
  /** A JSON object, up to 64 KiB and 32 levels. Properties that are undefined are left out. */
  metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Groups messages into a thread. */
  threadId?: string | undefined;
  /** The id of the message that this one answers. */
  inReplyTo?: string | undefined;
  priority?: Priority | undefined;
  /** The lifetime. A message that is still unread afterwards expires, and its sender gets a receipt. */
  ttlMs?: number | undefined;
  /** By when an answer is wanted. If there is none by then, the sender gets one receipt `'overdue'`. */
  replyBy?: Date | undefined;
  /** The idempotency key: repeated sends with the same key are one message. A new UUID by default. */
  key?: string | undefined;
}

/** The options of a send. */
export interface SendOptions extends MessageOptions, CallOptions {}

/** The options of a reply. */
export interface ReplyOptions extends SendOptions {
  /** Mark the answered message as read once the reply is durable. */
  acknowledge?: boolean | undefined;
}

/** One message to be sent in bulk. */
export interface Draft extends MessageOptions {
  /** An agent's name, a session id, or `agent@team`. */
  to: string;
  /** Up to 1 MiB of UTF-8. */
  content: string;
}

/** Which events a subscription yields. */
export interface SubscribeOptions {
  /** Start after this event instead of now. Sixteen zeros mean the very beginning. */
  after?: string | undefined;
  /** Start with the unread messages; not together with `after`. */
  unread?: boolean | undefined;
  /** Also yield the receipts of messages that this agent sent. */
  receipts?: boolean | undefined;
  /** Neither mark messages as offered nor count as presence of the agent. */
  observe?: boolean | undefined;
  /** When observing: shorten each content to this number of bytes, and leave metadata out; `contentSize` then has its size. */
  previewBytes?: number | undefined;
  /** Ends the iteration when it is aborted: it throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Called with the error each time the stream broke and will be resumed. */
  onInterrupted?: ((error: MailroomError) => void) | undefined;
}

/** The options of `checkInbox`. */
export interface InboxOptions extends CallOptions {
  /** The maximum number of messages: 50 by default, at most 1,000. */
  limit?: number | undefined;
  /** How long to wait for the first message, in addition to the timeout. Not at all by default. */
  waitMs?: number | undefined;
  /** Neither mark messages as offered nor count as presence of the agent. */
  observe?: boolean | undefined;
  /** Leave out messages that were offered before. */
  newOnly?: boolean | undefined;
  /** Newest first instead of oldest first. */
  newestFirst?: boolean | undefined;
}

/** The options of every listing. */
export interface PageOptions extends CallOptions {
  /** The number of entries to fetch at once; the daemon's choice by default. */
  pageSize?: number | undefined;
  /** Start with this page: the `nextPageToken` of an earlier one. */
  pageToken?: string | undefined;
}

/** Which messages to search. */
export interface SearchOptions extends PageOptions {
  /** The mailbox; every mailbox by default. */
  agent?: string | undefined;
  /** Leave out messages that are read. */
  unreadOnly?: boolean | undefined;
  /** Only messages of this thread. */
  threadId?: string | undefined;
  /** Only messages of this sender. */
  sender?: string | undefined;
  /** Only messages in one of these states. Messages that were offered within the last second may be missing. */
  states?: readonly Exclude<DeliveryState, 'unknown'>[] | undefined;
  /** Shorten each content to this number of bytes, and leave metadata out; `contentSize` then has its size. */
  previewBytes?: number | undefined;
}

/** The options of `acknowledge`. */
export interface AcknowledgeOptions extends CallOptions {
  /** Who acknowledges in the agent's place, for the history; the agent by default. */
  by?: string | undefined;
}

/** The options of `clear`. */
export interface ClearOptions extends CallOptions {
  /** Who clears the mailbox in the agent's place, for the daemon's log; the agent by default. */
  by?: string | undefined;
}

/** The options of `traffic`. */
export interface TrafficOptions extends CallOptions {
  /** The length of the period until now; an hour by default. */
  periodMs?: number | undefined;
}

/** Which messages to list. */
export interface ListOptions extends Omit<SearchOptions, 'agent'> {
  /** Full-text search in content: all of the words; `"words in quotes"` match as a phrase, `word*` matches a prefix. */
  query?: string | undefined;
}

/** Which agents to list. */
export interface AgentsOptions extends PageOptions {
  /** Only agents that are subscribed now, or were present within the last five minutes. */
  aliveOnly?: boolean | undefined;
  /** Also the agents that are present on other hosts, as this one last heard from the hub. */
  allHosts?: boolean | undefined;
}

/** The options of `setAlias`. */
export interface AliasOptions extends CallOptions {
  /** The lifetime from now on: 24 h by default. */
  ttlMs?: number | undefined;
}
