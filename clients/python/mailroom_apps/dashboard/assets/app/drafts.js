// Drafts: every keystroke is stored with the key that the message will be sent with. A tab holds a lock on its draft, so
// two tabs never write the same one, and a draft of a tab that is gone is picked up by the next.

import * as storage from "./storage.js";

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
  return storage.write(`draft:${id}`, { ...draft, at: Date.now() });
}

export function discard(id) {
  storage.remove(`draft:${id}`);
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
