// Drafts: every keystroke is stored with the key that the message will be sent with. A tab holds a lock on its draft, so
// two tabs never write the same one, and a draft of a tab that is gone is picked up by the next. A second later a copy is
// with the server, so that another browser can continue it; under the same key, so it can be sent once only.

import * as calls from "./calls.js";
import * as storage from "./storage.js";
import { mayAct, state, tell } from "./store.js";
import { now } from "./times.js";

const SHARE_MS = 1000;
const timers = new Map();
const sharing = new Map();

export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export function emptyDraft(more = {}) {
  return { key: newKey(), to: [], typed: "", content: "", priority: "normal", ttl: "", replyBy: "", thread: "", answers: "", about: "", type: "", metadata: "", acknowledges: "", at: Date.now(), ...more };
}

export function isEmpty(draft) {
  return !draft.content && !draft.typed && !draft.metadata && (!draft.to.length || Boolean(draft.answers));
}

export function save(id, draft) {
  if (!timers.has(id)) timers.set(id, setTimeout(() => share(id), SHARE_MS));
  return storage.write(`draft:${id}`, { ...draft, at: now() });
}

export async function discard(id) {
  clearTimeout(timers.get(id));
  timers.delete(id);
  storage.remove(`draft:${id}`);
  state.sharedDrafts = state.sharedDrafts.filter(([name]) => name !== id);
  await sharing.get(id); // a copy that is on its way must not come after the removal
  await post("drafts/remove", { id });
}

function share(id) {
  timers.delete(id);
  const draft = storage.read(`draft:${id}`);
  if (!draft) return;
  const { at, ...fields } = draft;
  const done = isEmpty(draft) ? post("drafts/remove", { id }) : post("drafts", { id, at_ms: Math.round(at), fields });
  sharing.set(id, done);
  done.finally(() => sharing.get(id) === done && sharing.delete(id));
}

async function post(path, body) {
  if (!mayAct()) return;
  try {
    await calls.post(path, body);
  } catch {
    // the browser has the draft; the next keystroke and the next connection try again
  }
}

// Gives the server what it may have missed, and learns what other browsers have begun.
export async function exchange() {
  if (!mayAct()) return;
  for (const [id, draft] of stored()) if (!timers.has(id) && !isEmpty(draft)) share(id);
  await Promise.all(sharing.values());
  try {
    const { drafts } = await calls.get("drafts");
    state.sharedDrafts = drafts.map(({ id, at_ms: at, fields }) => [id, { ...emptyDraft(), ...fields, key: id, at }]);
    tell("drafts");
  } catch {
    // shown when the server is back
  }
}

// Drafts of other browsers: those that this one does not have, and other versions of those that it has.
export function fromElsewhere() {
  const own = new Map(stored());
  return state.sharedDrafts.filter(([id, draft]) => !own.has(id) || (draft.at > own.get(id).at && draft.content !== own.get(id).content));
}

export function stored() {
  return storage
    .names("draft:")
    .map((name) => [name.slice("draft:".length), storage.read(name)])
    .filter(([, draft]) => draft)
    .sort((a, b) => b[1].at - a[1].at);
}

// Locks a draft for this tab until `release` is called; null if another tab has it.
export function claim(id) {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve) => {
    navigator.locks.request(`mailroom-draft-${location.pathname}-${id}`, { ifAvailable: true }, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((release) => resolve(release));
    });
  });
}
