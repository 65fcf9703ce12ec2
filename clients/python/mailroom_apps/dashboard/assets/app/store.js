// The state of the page, and who is told of changes. Everything that arrives between two frames is told in one go.

import * as storage from "./storage.js";

const handlers = new Map();
const queue = [];
let isScheduled = false;
const MAX_STATES = 5000;

export const state = {
  about: { operator: "dashboard", role: "observer", manage: false },
  connection: { state: "connecting", sentence: "", at: 0 },
  daemon: { live: false, sentence: "", reason: "", health: "unknown" },
  isOutdated: false, // the server has another version of this page
  situation: { mine: [], stuck: [], agents: [], incidents: [], loaded: false },
  situationError: null,
  sharedDrafts: [], // [id, draft] of this operator, as the server has them
  states: new Map(), // the latest known delivery state of messages, by id
};

export function on(kind, handler) {
  if (!handlers.has(kind)) handlers.set(kind, new Set());
  handlers.get(kind).add(handler);
  return () => handlers.get(kind).delete(handler);
}

export function tell(kind, value) {
  queue.push([kind, value]);
  if (isScheduled) return;
  isScheduled = true;
  if (document.visibilityState === "visible") requestAnimationFrame(flush);
  else setTimeout(flush, 100); // a hidden page has no frames
}

function flush() {
  isScheduled = false;
  const byKind = new Map();
  for (const [kind, value] of queue.splice(0)) {
    if (byKind.has(kind)) byKind.get(kind).push(value);
    else byKind.set(kind, [value]);
  }
  for (const [kind, values] of byKind) for (const handler of [...(handlers.get(kind) || [])]) handler(values);
}

document.addEventListener("visibilitychange", () => isScheduled && flush());

const RANK = { stored: 0, filed: 1, offered: 2, read: 3, expired: 3, returned: 3 };

// Returns the later one of two delivery states: a list that was fetched before a receipt must not take it back.
export function later(a, b) {
  return (RANK[b] ?? -1) > (RANK[a] ?? -1) ? b : a;
}

export function recordState(id, delivery) {
  const known = state.states.get(id);
  state.states.delete(id);
  state.states.set(id, known ? later(known, delivery) : delivery);
  if (state.states.size > MAX_STATES) state.states.delete(state.states.keys().next().value);
}

export function deliveryOf(message) {
  return later(message.state, state.states.get(message.id));
}

export function mayAct() {
  return state.about.role === "operator";
}

const snoozed = storage.read("snoozed", {});

export function snooze(agent, untilMs) {
  snoozed[agent] = untilMs;
  storage.write("snoozed", snoozed);
}

export function isSnoozed(agent, nowMs) {
  return (snoozed[agent] || 0) > nowMs;
}
