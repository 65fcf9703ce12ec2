/** Event — what a subscription yields. `eventId` is its place in the daemon's global sequence: pass it as `after` to resume. */

import type { JsonObject, Message, Receipt } from './messages.js';

/** A JSON object that an agent left as a file in its outbox. */
export interface CommandResponse {
  sessionId: string;
  fileName: string;
  body: JsonObject;
  /** When the daemon accepted it. */
  timestamp: Date;
}

/** A message for the agent. */
export interface MessageEvent {
  kind: 'message';
  eventId: string;
  message: Message;
}

/** A step of a message that the agent sent. */
export interface ReceiptEvent {
  kind: 'receipt';
  eventId: string;
  receipt: Receipt;
}

/** A response from an outbox. */
export interface ResponseEvent {
  kind: 'response';
  eventId: string;
  response: CommandResponse;
}

/** The replay is over; what follows is live. It comes again after each reconnection. */
export interface CaughtUpEvent {
  kind: 'caughtUp';
  eventId: string;
  /** Events after the position that it was resumed from may be missing: the daemon has deleted them meanwhile. */
  gap: boolean;
}

/** What a subscription yields. */
export type Event = MessageEvent | ReceiptEvent | ResponseEvent | CaughtUpEvent;
