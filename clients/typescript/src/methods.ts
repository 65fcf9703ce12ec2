/** Method — one RPC of the daemon as data: its path and its codecs, for the transport. */

import { HealthDefinition } from './generated/grpc/health/v1/health.js';
import { MailboxServiceDefinition, SupervisorServiceDefinition } from './generated/mailroom/v1/mailroom.js';

/** One RPC. */
export interface Method<Request, Response> {
  /** As gRPC names it: `/service/method`. */
  readonly path: string;
  encode(request: Request): Buffer;
  decode(response: Uint8Array): Response;
}

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(encoded: Uint8Array): Message;
}

interface Definition<Request, Response> {
  readonly name: string;
  readonly requestType: Codec<Request>;
  readonly responseType: Codec<Response>;
}

function method<Request, Response>(service: string, rpc: Definition<Request, Response>): Method<Request, Response> {
  return {
    path: `/${service}/${rpc.name}`,
    encode(request) {
      const { buffer, byteOffset, byteLength } = rpc.requestType.encode(request).finish();
      return Buffer.from(buffer, byteOffset, byteLength);
    },
    decode: (response) => rpc.responseType.decode(response),
  };
}

const { fullName: mailbox, methods: mailboxMethods } = MailboxServiceDefinition;
const { fullName: supervisor, methods: supervisorMethods } = SupervisorServiceDefinition;

export const SEND_MESSAGE = method(mailbox, mailboxMethods.sendMessage);
export const SEND_MESSAGES = method(mailbox, mailboxMethods.sendMessages);
export const BROADCAST_MESSAGE = method(mailbox, mailboxMethods.broadcastMessage);
export const SUBSCRIBE = method(mailbox, mailboxMethods.subscribe);
export const CHECK_INBOX = method(mailbox, mailboxMethods.checkInbox);
export const MARK_OFFERED = method(mailbox, mailboxMethods.markOffered);
export const ACKNOWLEDGE_MESSAGES = method(mailbox, mailboxMethods.acknowledgeMessages);
export const GET_MESSAGE = method(mailbox, mailboxMethods.getMessage);
export const LIST_MESSAGES = method(mailbox, mailboxMethods.listMessages);
export const CLEAR_MAILBOX = method(mailbox, mailboxMethods.clearMailbox);
export const GET_TRAFFIC = method(mailbox, mailboxMethods.getTraffic);
export const GET_MAILBOX_STATS = method(mailbox, mailboxMethods.getMailboxStats);
export const GET_QUEUE_STATS = method(mailbox, mailboxMethods.getQueueStats);
export const SET_ALIAS = method(mailbox, mailboxMethods.setAlias);
export const LIST_AGENTS = method(mailbox, mailboxMethods.listAgents);
export const GET_STATUS = method(supervisor, supervisorMethods.getStatus);
export const GET_METRICS = method(supervisor, supervisorMethods.getMetrics);
export const CHECK_HEALTH = method(HealthDefinition.fullName, HealthDefinition.methods.check);
