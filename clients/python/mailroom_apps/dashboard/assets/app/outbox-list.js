// The outbox as the compose panel shows it: a line for each message that was sent here, with what is known of it.

import { button, h, hidden, replace } from "./dom.js";
import { nameOf, ticks } from "./messages.js";
import * as outbox from "./outbox.js";
import { href } from "./router.js";
import { later, on, state } from "./store.js";

export class OutboxList {
  // `onEdit(entry)` takes a refused message back into the panel.
  constructor(onEdit) {
    this.onEdit = onEdit;
    this.element = h("ul", { class: "outbox", "aria-label": "Outbox" });
    on("outbox", () => this.draw());
    on("receipt", () => this.draw());
    this.draw();
  }

  draw() {
    replace(this.element, outbox.entries().map((entry) => h("li", { class: `entry ${entry.status}` }, this.line(entry))));
  }

  line(entry) {
    const { submission, status } = entry;
    const target = submission.to.map(nameOf).join(", ");
    const text = h("span", { class: "preview", text: submission.content.slice(0, 120) });
    const result = {
      sending: () => [h("span", { text: `sending to ${target} …` })],
      unknown: () => [h("span", { class: "warning", text: `not yet confirmed, to ${target}: it goes out when the daemon answers, once` })],
      "too-old": () => [h("span", { class: "warning", text: `never confirmed, to ${target}: it may have arrived; look into the mailbox` })],
      refused: () => [h("span", { class: "error", text: `refused: ${refusals(entry)}` })],
      sent: () => [h("span", { text: `to ${target} ` }), ...entry.results.map(sentResult), readOf(entry)],
    }[status]();
    const actions = [];
    if (status === "refused" || status === "too-old") actions.push(button("Edit", () => this.onEdit(entry)));
    if (status !== "sending") actions.push(button(status === "unknown" ? "Give up" : "Dismiss", () => dismiss(entry), { "aria-label": `${status === "unknown" ? "give up" : "dismiss"} the message to ${target}` }));
    return [...result, text, ...actions];
  }
}

function dismiss(entry) {
  if (entry.status === "unknown" && !confirm("The message may have been sent already. Stop trying, and forget it here?")) return;
  outbox.discard(entry.key);
}

function readOf(entry) {
  if (entry.results.length < 2) return null;
  const read = entry.results.filter((result) => delivered(result) === "read").length;
  return h("span", { class: "dim", text: ` ${read} of ${entry.results.length} read ` });
}

function delivered(result) {
  return later(result.state, state.states.get(result.id));
}

function sentResult(result) {
  return h("a", { href: href("id", result.id), title: result.to }, ticks(delivered(result)), hidden(`, message to ${result.to}`), " ");
}

function refusals(entry) {
  return entry.results
    .filter((result) => result.outcome === "refused")
    .map((result) => `${result.to}: ${result.error.message}${result.error.reason ? ` (${result.error.reason})` : ""}`)
    .join(" · ");
}
