// What both Node adapters share: reading and writing JSON lines, and cancelling.
import { createInterface } from 'node:readline';

const cancels = new Map(); // of operations that run, by id

export const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Lets `cancel` lines end an operation; forgets it when it has ended. */
export async function cancellable(id, cancel, done) {
  cancels.set(id, cancel);
  try {
    return await done;
  } finally {
    cancels.delete(id);
  }
}

/** Reads lines until the input ends. `handle` returns the last line of an operation, without its id. */
export async function serve(hello, handle) {
  write({ hello: { runtime: `Node ${process.versions.node}`, ...hello } });
  for await (const text of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const line = JSON.parse(text);
    if (line.op === 'cancel') cancels.get(line.stream)?.();
    else {
      const answer = handle(line, (event) => write({ id: line.id, ...event }))
        .catch((error) => ({ unexpected: String(error.stack) }))
        .then((result) => write({ id: line.id, ...result }));
      if (line.op === 'open') await answer;
    }
  }
  process.exit(0);
}
