/** Mailroom — the client: one method for each verb. Requests, retries and streams are in the modules below. */

import { Bulk, type Drafts } from './bulk.js';
import { Caller } from './caller.js';
import { Channels } from './channels.js';
import {
  agentFrom,
  healthFrom,
  mailboxStatsFrom,
  messageFrom,
  metricFrom,
  outcomeFrom,
  queueStatsFrom,
  statusFrom,
  trackedFrom,
  trafficFrom,
} from './conversion.js';
import { findCredentials } from './credentials.js';
import { MailroomError } from './errors.js';
import { ListAgentsRequest } from './generated/mailroom/v1/mailroom.js';
import type { Acknowledgement, Inbox, Message, SendOutcome, SentMessage, TrackedMessage } from './messages.js';
import * as methods from './methods.js';
import type {
  AcknowledgeOptions,
  AgentsOptions,
  AliasOptions,
  CallOptions,
  ClearOptions,
  InboxOptions,
  ListOptions,
  MailroomOptions,
  PageOptions,
  ReplyOptions,
  SearchOptions,
  SendOptions,
  SubscribeOptions,
  TrafficOptions,
} from './options.js';
import { Listing } from './pages.js';
import { Pipeline } from './pipeline.js';
import {
  aliasRequest,
  broadcastRequest,
  count,
  draftRequest,
  inboxRequest,
  listRequest,
  portions,
  text,
  trafficRequest,
} from './requests.js';
import type { AgentInfo, Health, MailboxStats, MetricSample, QueueStats, Status, Traffic } from './stats.js';
import { Subscription } from './subscription.js';
import { Transport } from './transport.js';

/**
 * A client of Mailroom. It locates the daemon by itself, and repeats what is safe to repeat: nothing is lost or doubled.
 *
 * Every method may reject with a MailroomError, or with the reason of an aborted signal. Close the client, or declare it with
 * `await using`. An idle client does not keep the process running.
 */
export class Mailroom {
  readonly #channels: Channels;
  readonly #caller: Caller;
  readonly #pipeline: Pipeline;
  readonly #sender: string | undefined;

  /** Throws a MailroomError (INVALID_ARGUMENT) if an address is malformed or a file cannot be read. Connects on first use. */
  constructor(options: MailroomOptions = {}) {
    const environment = process.env;
    this.#channels = new Channels(options.address, findCredentials(options, environment), environment);
    const patience = { timeoutMs: options.timeoutMs ?? 30_000, graceMs: options.graceMs ?? 2_000 };
    this.#caller = new Caller(new Transport(this.#channels), patience);
    this.#pipeline = new Pipeline(this.#caller, true);
    this.#sender = options.sender ?? (environment.MAILROOM_AGENT || undefined);
  }

  /** The default sender of this client. */
  get sender(): string | undefined {
    return this.#sender;
  }

  /** The daemon's address, `unix:PATH` or `HOST:PORT`; undefined while it has not been located. */
  get address(): string | undefined {
    return this.#channels.contact.address?.text;
  }

  /**
   * Sends one message to an agent, a session or `agent@team`; resolves when it is durable. Sends that run at the same time
   * share one stream, in the order of their calls.
   */
  async send(to: string, content: string, options: SendOptions = {}): Promise<SentMessage> {
    const request = draftRequest({ ...options, to, content }, this.#sender);
    const limits = { timeoutMs: this.#caller.timeoutOf(options), signal: options.signal };
    try {
      return await this.#pipeline.send(request, limits);
    } catch (error) {
      throw error instanceof MailroomError ? error.withKey(request.idempotencyKey) : error;
    }
  }

  /** Answers a message: to its sender, in its thread if it has one, under the name that it was sent to unless `sender` is set. */
  async reply(message: Message, content: string, options: ReplyOptions = {}): Promise<SentMessage> {
    const { acknowledge, ...sendOptions } = options;
    const sent = await this.send(message.sender, content, {
      ...sendOptions,
      sender: options.sender ?? this.#sender ?? message.recipient,
      threadId: options.threadId ?? message.threadId,
      inReplyTo: message.id,
    });
    if (acknowledge) await this.acknowledge(message.recipient, message.id, options);
    return sent;
  }

  /** Sends an independent copy to each recipient; returns the outcomes in their order, failures included. */
  async broadcast(recipients: readonly string[], content: string, options: SendOptions = {}): Promise<SendOutcome[]> {
    const request = broadcastRequest(recipients, content, options, this.#sender);
    const response = await this.#caller.call(methods.BROADCAST_MESSAGE, request, options);
    return request.recipients.map((recipient, index) => outcomeFrom(recipient, response.results[index]));
  }

  /**
   * Sends drafts in bulk; yields their outcomes in order, failures included. It starts with the first outcome that is asked for,
   * and runs at most 1,000 drafts or 16 MiB ahead. `timeoutMs` is the time for each draft.
   *
   * It throws if the daemon cannot be reached within that time. Sending the remaining drafts again is safe if they have
   * keys of their own.
   */
  sendMany(drafts: Drafts, options: CallOptions = {}): AsyncGenerator<SendOutcome, void> {
    return new Bulk(this.#caller, this.#sender, options).outcomes(drafts);
  }

  /** Returns an agent's events: from now on, from the unread messages, or after an event. It reconnects and resumes. */
  subscribe(agent: string, options: SubscribeOptions = {}): Subscription {
    return new Subscription(this.#caller, text('agent', agent), options);
  }

  /** Returns the events of every mailbox, with receipts and responses, for dashboards and audits. It marks nothing offered. */
  subscribeAll(options: Omit<SubscribeOptions, 'unread' | 'receipts' | 'observe'> = {}): Subscription {
    return new Subscription(this.#caller, undefined, options);
  }

  /** Returns unread messages, oldest first; can wait for the first one. Marks none read. */
  async checkInbox(agent: string, options: InboxOptions = {}): Promise<Inbox> {
    const request = inboxRequest(agent, options);
    const { messages, more } = await this.#caller.call(methods.CHECK_INBOX, request, options, options.waitMs);
    return { messages: messages.map(messageFrom), more };
  }

  /** Marks messages read and removes their inbox files. Repeating it is harmless. */
  async acknowledge(
    agent: string,
    ids: string | Iterable<string>,
    options: AcknowledgeOptions = {},
  ): Promise<Acknowledgement> {
    const result: Acknowledgement = { acknowledged: [], unknown: [] };
    for (const messageIds of portions(ids)) {
      const request = { agent: text('agent', agent), messageIds, by: text('by', options.by ?? '') };
      const response = await this.#caller.call(methods.ACKNOWLEDGE_MESSAGES, request, options);
      result.acknowledged.push(...response.acknowledgedIds);
      result.unknown.push(...response.unknownIds);
    }
    return result;
  }

  /** Records that messages were shown to their recipient by other means than this client. */
  async markOffered(agent: string, ids: string | Iterable<string>, options: CallOptions = {}): Promise<void> {
    for (const messageIds of portions(ids)) {
      await this.#caller.call(methods.MARK_OFFERED, { agent: text('agent', agent), messageIds }, options);
    }
  }

  /** Returns one message with its delivery and history. */
  async get(id: string, options: CallOptions = {}): Promise<TrackedMessage> {
    return trackedFrom(await this.#caller.call(methods.GET_MESSAGE, { id: text('id', id) }, options));
  }

  /** Lists the messages of one mailbox, or of every mailbox, newest first. */
  list(agent?: string, options: ListOptions = {}): Listing<Message> {
    return this.#messages({ ...options, agent });
  }

  /** Finds messages by their content, newest first; `ListOptions.query` describes the syntax. */
  search(query: string, options: SearchOptions = {}): Listing<Message> {
    return this.#messages({ ...options, query });
  }

  /** Lists the agents that have been present, by name. */
  agents(options: AgentsOptions = {}): Listing<AgentInfo> {
    return this.#listing(options, async (pageToken) => {
      const request = ListAgentsRequest.fromPartial({
        aliveOnly: options.aliveOnly ?? false,
        allHosts: options.allHosts ?? false,
        pageSize: count('page_size', options.pageSize),
        pageToken,
      });
      const response = await this.#caller.call(methods.LIST_AGENTS, request, options);
      return { items: response.agents.map(agentFrom), nextPageToken: response.nextPageToken };
    });
  }

  /** Lists the message counts of one mailbox, or of every mailbox by name. */
  mailboxStats(agent = '', options: PageOptions = {}): Listing<MailboxStats> {
    return this.#listing(options, async (pageToken) => {
      const request = { agent: text('agent', agent), pageSize: count('page_size', options.pageSize), pageToken };
      const response = await this.#caller.call(methods.GET_MAILBOX_STATS, request, options);
      return { items: response.mailboxes.map(mailboxStatsFrom), nextPageToken: response.nextPageToken };
    });
  }

  /** Counts the messages of a period by sender and mailbox; for the owner and administrators. */
  async traffic(options: TrafficOptions = {}): Promise<Traffic> {
    return trafficFrom(await this.#caller.call(methods.GET_TRAFFIC, trafficRequest(options.periodMs), options));
  }

  /** Lists the number of pending inbox files of one session, or of each session that has any. */
  queueStats(session = '', options: PageOptions = {}): Listing<QueueStats> {
    return this.#listing(options, async (pageToken) => {
      const pageSize = count('page_size', options.pageSize);
      const request = { sessionId: text('session_id', session), pageSize, pageToken };
      const response = await this.#caller.call(methods.GET_QUEUE_STATS, request, options);
      return { items: response.queues.map(queueStatsFrom), nextPageToken: response.nextPageToken };
    });
  }

  /** Deletes every message of a mailbox and its inbox files; returns their number. After a failure, call it again. */
  async clear(agent: string, options: ClearOptions = {}): Promise<number> {
    const request = { agent: text('agent', agent), by: text('by', options.by ?? '') };
    return (await this.#caller.call(methods.CLEAR_MAILBOX, request, options)).deleted;
  }

  /** Makes a session an alias of an agent: its mail goes to the agent's mailbox. Returns when the alias expires. */
  async setAlias(agent: string, session: string, options: AliasOptions = {}): Promise<Date | undefined> {
    const request = aliasRequest(agent, session, options.ttlMs);
    return (await this.#caller.call(methods.SET_ALIAS, request, options)).expiresAt;
  }

  /** Ends an alias. */
  async endAlias(agent: string, session: string, options: CallOptions = {}): Promise<void> {
    await this.#caller.call(methods.SET_ALIAS, aliasRequest(agent, session, 0), options);
  }

  /** Returns whether the daemon accepts messages now. Works without a token. */
  async health(options: CallOptions = {}): Promise<Health> {
    return healthFrom((await this.#caller.call(methods.CHECK_HEALTH, { service: '' }, options)).status);
  }

  /** Returns the daemon's version and its workers; for the owner and administrators. */
  async status(options: CallOptions = {}): Promise<Status> {
    return statusFrom(await this.#caller.call(methods.GET_STATUS, {}, options));
  }

  /** Returns the metrics of every worker; for the owner and administrators. */
  async metrics(options: CallOptions = {}): Promise<MetricSample[]> {
    return (await this.#caller.call(methods.GET_METRICS, {}, options)).samples.map(metricFrom);
  }

  /** Ends every call and subscription, and closes the connection. */
  async close(): Promise<void> {
    this.#caller.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #messages(options: ListOptions & SearchOptions): Listing<Message> {
    return this.#listing(options, async (pageToken) => {
      const response = await this.#caller.call(methods.LIST_MESSAGES, listRequest(options, pageToken), options);
      return { items: response.messages.map(messageFrom), nextPageToken: response.nextPageToken };
    });
  }

  #listing<Item>(
    options: PageOptions,
    fetchPage: (pageToken: string) => Promise<{ items: Item[]; nextPageToken: string }>,
  ): Listing<Item> {
    return new Listing(fetchPage, text('page_token', options.pageToken ?? ''));
  }
}
