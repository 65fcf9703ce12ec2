// How a message looks in a row: who, to whom, how far it has come, how urgent it is, how it begins.

import { h, hidden } from "./dom.js";
import { deliveryOf, state } from "./store.js";
import { age, ageOf, clock, full } from "./times.js";

export const STATES = {
  stored: ["·", "stored: durable, the inbox file is not written yet"],
  filed: ["✓", "filed: in the inbox, not shown to anyone yet"],
  offered: ["✓✓", "offered: shown to its recipient, not acknowledged"],
  read: ["✓✓✓", "read: acknowledged"],
  expired: ["⌛", "expired: its time to live ran out unread"],
  returned: ["↩", "returned: the host that it was for did not take it"],
  queued: ["·", "queued: waits to leave for the host that it is for"],
  forwarded: ["→", "forwarded: on its way to the host that it is for, not confirmed yet"],
  overdue: ["!", "overdue: no answer by the time that the sender named"],
};

export function ticks(delivery) {
  const [glyph, meaning] = STATES[delivery] || ["?", delivery];
  return h("span", { class: `ticks ${delivery}`, title: meaning }, h("span", { "aria-hidden": "true" }, glyph), hidden(meaning.split(":")[0]));
}

export function nameOf(name) {
  return name === state.about.operator ? "you" : name;
}

export function parties(message) {
  return h("span", { class: "parties" }, h("b", { text: nameOf(message.from) }), " → ", h("b", { text: nameOf(message.to) }));
}

export function isUnread(message) {
  return ["stored", "filed", "offered"].includes(deliveryOf(message));
}

export function badges(message) {
  const found = [];
  if (message.priority === "urgent" || message.priority === "high") found.push(h("span", { class: `badge ${message.priority}`, text: message.priority }));
  if (message.priority === "low") found.push(h("span", { class: "badge", text: "low" }));
  if (message.type !== "text") found.push(h("span", { class: "badge type", text: message.type }));
  if (message.reply_by && isUnread(message)) found.push(h("span", { class: "badge", title: full(message.reply_by), text: ageOf(message.reply_by) > 0 ? "answer overdue" : "answer wanted" }));
  if (message.size > 4096) found.push(h("span", { class: "badge size", text: size(message.size) }));
  return found;
}

export function messageRow(message) {
  return [
    h("span", { class: "line" }, parties(message), ...badges(message), h("time", { datetime: message.at, title: full(message.at), text: clock(message.at) })),
    h("span", { class: "line" }, ticks(deliveryOf(message)), h("span", { class: isUnread(message) ? "preview unread" : "preview", text: message.preview || "(empty)" })),
  ];
}

// How long the daemon keeps what was read; without this, people think that mail was lost.
export function keptFor() {
  const seconds = state.situation.keep_read_sec;
  return seconds ? `Mail is deleted ${age(seconds)} after it was read or has expired` : "Mail is deleted some time after it was read";
}

export function size(bytes) {
  if (bytes >= 1024 * 1024) return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  return bytes >= 1024 ? `${Math.round(bytes / 1024)} KB` : `${bytes} bytes`;
}
