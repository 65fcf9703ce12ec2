/** Waiting — a pause that ends early with an error, a promise that is settled from outside, and abort signals. */

import { setMaxListeners } from 'node:events';

/** Calls a function once when a signal is aborted, at once if it is; returns a function that takes this back. */
export function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => undefined;
  if (signal.aborted) {
    listener(signal.reason);
    return () => undefined;
  }
  setMaxListeners(0, signal); // any number of calls may share a signal; Node would warn from eleven on
  const onEvent = (): void => listener(signal.reason);
  signal.addEventListener('abort', onEvent, { once: true });
  return () => signal.removeEventListener('abort', onEvent);
}

/**
 * Waits.
 *
 * @param ms - for how long.
 * @param signals - whose abort ends the pause; the promise then rejects with the signal's reason.
 * @param keepsAlive - whether the pause keeps the process running.
 */
export function sleep(ms: number, signals: readonly (AbortSignal | undefined)[], keepsAlive = true): Promise<void> {
  const { promise, resolve, reject } = defer<void>();
  const timer = setTimeout(resolve, ms);
  if (!keepsAlive) timer.unref();
  const removers = signals.map((signal) => onAbort(signal, reject));
  return promise.finally(() => {
    clearTimeout(timer);
    for (const remove of removers) remove();
  });
}

/** A promise with the functions that settle it. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Returns a promise that is settled from outside. */
export function defer<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}
