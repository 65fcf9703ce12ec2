// The outbox: what was sent and is not known to have arrived. Each entry keeps the key that it was first sent with, so
// sending it again is safe; an entry never changes under its key. It stays until the daemon has answered, over reloads.

import * as calls from "./calls.js";
import * as storage from "./storage.js";
import { on, recordState, state, tell } from "./store.js";

const RETRY_MS = [500, 1000, 2000, 5000, 10000];
const MAX_AGE_MS = 20 * 3600 * 1000; // the daemon remembers keys for a day
const KEPT = 5; // sent ones that stay to show their ticks
const sending = new Set();
const failures = new Map();

export function entries() {
  return storage
    .names("outbox:")
    .map((name) => storage.read(name))
    .filter(Boolean)
    .sort((a, b) => a.at - b.at);
}

// Takes a submission over; false if the browser cannot store it, and then nothing has happened.
export function put(submission, from) {
  const entry = { key: submission.key, submission, at: Date.now(), status: "sending", results: [], from };
  if (!storage.write(`outbox:${entry.key}`, entry)) return false;
  tell("outbox");
  attempt(entry.key);
  return true;
}

export function discard(key) {
  storage.remove(`outbox:${key}`);
  tell("outbox");
}

export function retryAll() {
  for (const entry of entries()) if (isOpen(entry)) attempt(entry.key);
}

export function isOpen(entry) {
  return entry.status === "sending" || entry.status === "unknown";
}

async function attempt(key) {
  if (sending.has(key)) return;
  sending.add(key);
  try {
    if (navigator.locks) await navigator.locks.request(`mailroom-outbox-${key}`, () => attemptAlone(key)); // one tab at a time
    else await attemptAlone(key);
  } finally {
    sending.delete(key);
  }
}

async function attemptAlone(key) {
  const entry = storage.read(`outbox:${key}`);
  if (!entry || !isOpen(entry)) return;
  if (Date.now() - entry.at > MAX_AGE_MS) return save(entry, { status: "too-old" });
  try {
    const { results } = await calls.post("send", withoutMine(entry.submission));
    conclude(entry, results);
  } catch (error) {
    const isFinal = [400, 403, 413, 415].includes(error.status);
    const result = { outcome: isFinal ? "refused" : "unknown", error: { message: error.message, reason: error.reason, field: error.field } };
    save(entry, { status: result.outcome, results: entry.submission.to.map((to) => ({ to, ...result })) });
    if (!isFinal) retryLater(key);
  }
}

function withoutMine({ acknowledges, ...submission }) {
  return submission;
}

function conclude(entry, results) {
  const outcomes = new Set(results.map((result) => result.outcome));
  const status = outcomes.has("unknown") ? "unknown" : outcomes.has("refused") ? "refused" : "sent";
  results.filter((result) => result.id).forEach((result) => recordState(result.id, result.state));
  save(entry, { status, results });
  if (status === "unknown") return retryLater(entry.key);
  failures.delete(entry.key);
  if (status === "sent" && entry.submission.acknowledges) calls.post("acknowledge", { ids: [entry.submission.acknowledges] }).catch(() => {});
  forgetOld();
}

function save(entry, change) {
  storage.write(`outbox:${entry.key}`, { ...entry, ...change });
  tell("outbox");
}

function retryLater(key) {
  const count = failures.get(key) || 0;
  failures.set(key, count + 1);
  setTimeout(() => attempt(key), RETRY_MS[Math.min(count, RETRY_MS.length - 1)]);
}

function forgetOld() {
  const sent = entries().filter((entry) => entry.status === "sent");
  sent.slice(0, -KEPT).forEach((entry) => discard(entry.key));
}

on("daemon", () => state.daemon.live && retryAll());
storage.onChange("outbox:", () => tell("outbox"));
