/**
 * Channels — one client's gRPC channels by address, and what is known about the daemon.
 *
 * After each failure to connect, the daemon is located again, because it may have moved to another address.
 * Below `transport`, which makes the calls. Invariant: a closed client opens no further channel.
 */

import { type ChannelOptions, Client, credentials as grpcCredentials, Metadata } from '@grpc/grpc-js';

import { type Address, type Environment, givenAddress, grpcTarget, searchDaemon, socketPath } from './addresses.js';
import type { Credentials } from './credentials.js';
import { clientClosed } from './errors.js';
import type { Contact } from './retries.js';

const OPTIONS: ChannelOptions = {
  'grpc.initial_reconnect_backoff_ms': 100, // the daemon is near; gRPC's default of 1 s suits the internet
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.enable_http_proxy': 0, // grpc-js would send even loopback through it
  'grpc.max_receive_message_length': 8 << 20, // a page of 3 MiB, and one message more
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1, // close() then ends the connection
};
const TCP_OPTIONS: ChannelOptions = {
  ...OPTIONS,
  'grpc.keepalive_time_ms': 30_000, // a stream that a router has forgotten is noticed
  'grpc.keepalive_timeout_ms': 20_000,
};

/** The channels of one client. */
export class Channels {
  readonly contact: Contact;
  readonly #given: Address | undefined;
  readonly #opened = new Map<string, Client>();
  #search: Promise<Address> | undefined;
  #isClosed = false;

  /** Throws INVALID_ARGUMENT if the given address is malformed. */
  constructor(
    explicit: string | undefined,
    private readonly credentials: Credentials,
    private readonly environment: Environment,
  ) {
    this.#given = givenAddress(explicit, environment);
    this.contact = { address: this.#given, answered: false };
    if (this.#given) credentials.usesTls(this.#given);
  }

  /** Whether the program closed the client. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Returns the channel to the daemon, which is located first where that is not known. */
  async connect(): Promise<Client> {
    if (this.#isClosed) throw clientClosed();
    const address = this.#given ?? (await this.#locate());
    if (this.#isClosed) throw clientClosed();
    const target = grpcTarget(address);
    const opened = this.#opened.get(target) ?? this.#open(target, address);
    this.#opened.set(target, opened);
    return opened;
  }

  /** Returns the headers of a call. */
  headers(): Metadata {
    const headers = new Metadata();
    const authorization = this.credentials.authorization;
    if (authorization) headers.set('authorization', authorization);
    return headers;
  }

  /** Locates the daemon again before the next call. */
  forgetAddress(): void {
    this.#search = undefined;
  }

  /** Refuses further calls and closes the channels. */
  close(): void {
    this.#isClosed = true;
    for (const client of this.#opened.values()) client.close();
  }

  async #locate(): Promise<Address> {
    this.#search ??= searchDaemon(this.environment); // calls that begin together share one search
    try {
      this.contact.address = await this.#search;
    } catch (error) {
      this.forgetAddress();
      throw error;
    }
    return this.contact.address;
  }

  #open(target: string, address: Address): Client {
    const { ca, key, cert } = this.credentials;
    const channelCredentials = this.credentials.usesTls(address)
      ? grpcCredentials.createSsl(ca, key, cert)
      : grpcCredentials.createInsecure();
    return new Client(target, channelCredentials, socketPath(address) === undefined ? TCP_OPTIONS : OPTIONS);
  }
}
