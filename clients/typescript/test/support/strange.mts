/** StrangeDaemon — a gRPC server that answers as a newer daemon, a broken one or a proxy might. */

import { mkdtempSync, rmSync } from 'node:fs';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
  type UntypedHandleCall,
} from '@grpc/grpc-js';

const asBuffer = (value: Buffer): Buffer => value;
const codecs = {
  requestSerialize: asBuffer,
  requestDeserialize: asBuffer,
  responseSerialize: asBuffer,
  responseDeserialize: asBuffer,
};

/** What it does for each RPC, by name. */
export interface Behaviour {
  unary?: Record<string, handleUnaryCall<Buffer, Buffer>>;
  stream?: Record<string, handleServerStreamingCall<Buffer, Buffer>>;
  exchange?: Record<string, handleBidiStreamingCall<Buffer, Buffer>>;
}

/** Returns an error as a handler ends a call with it, without google.rpc details. */
export function bareError(code: status, details: string): Partial<ServiceError> {
  return { code, details, metadata: new Metadata() };
}

/** grpc-js wants one method at least. */
const unimplemented: handleUnaryCall<Buffer, Buffer> = (_, answer) => answer(bareError(status.UNIMPLEMENTED, ''));

/** One server on a Unix socket. */
export class StrangeDaemon {
  readonly #directory = mkdtempSync('/tmp/mrs-');
  readonly address = `unix:${this.#directory}/m.sock`;
  readonly #server = new Server();

  static async start(behaviour: Behaviour): Promise<StrangeDaemon> {
    const daemon = new StrangeDaemon();
    const definition = (name: string, requestStream: boolean, responseStream: boolean) => ({
      path: `/mailroom.v1.MailboxService/${name}`,
      requestStream,
      responseStream,
      ...codecs,
    });
    const unary = Object.entries({ Unused: unimplemented, ...behaviour.unary });
    const stream = Object.entries(behaviour.stream ?? {});
    const exchange = Object.entries(behaviour.exchange ?? {});
    daemon.#server.addService(
      Object.fromEntries([
        ...unary.map(([name]) => [name, definition(name, false, false)]),
        ...stream.map(([name]) => [name, definition(name, false, true)]),
        ...exchange.map(([name]) => [name, definition(name, true, true)]),
      ]),
      Object.fromEntries<UntypedHandleCall>([...unary, ...stream, ...exchange]),
    );
    await new Promise<void>((resolve, reject) => {
      const onBound = (error: Error | null): void => (error ? reject(error) : resolve());
      daemon.#server.bindAsync(`unix://${daemon.#directory}/m.sock`, ServerCredentials.createInsecure(), onBound);
    });
    return daemon;
  }

  end(): void {
    this.#server.forceShutdown();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
