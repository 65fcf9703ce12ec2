// The reading pane: one message with its history, or a thread. Its content is fetched when it is shown.

import { acknowledge, acknowledgeFor, copyLink } from "./actions.js";
import * as calls from "./calls.js";
import { copy } from "./clipboard.js";
import { button, download, fromTree, h, replace } from "./dom.js";
import { badges, keptFor, nameOf, parties, size, STATES, ticks } from "./messages.js";
import { href } from "./router.js";
import { deliveryOf, mayAct, on, recordState, state } from "./store.js";
import { clock, full } from "./times.js";

const CACHED = 64;
const cache = new Map();

export class Pane {
  // options: `onReply(message, acknowledges)`, `onAgain(message)`, `onClose()` or null.
  constructor(options) {
    this.options = options;
    this.body = h("div", { class: "pane-body" });
    this.element = h("section", { class: "pane", "aria-label": "Reading pane", tabindex: -1 }, this.body);
    this.raw = false;
    this.again = null; // tries what failed once more
    this.unsubscribe = [
      on("receipt", (receipts) => this.onReceipts(receipts)),
      on("times", () => this.redraw()),
      on("reset", () => cache.clear()),
      on("daemon", () => state.daemon.live && this.again?.()),
    ];
  }

  destroy() {
    this.unsubscribe.forEach((end) => end());
  }

  clear(hint) {
    this.shown = this.again = null;
    this.messages = [];
    replace(this.body, h("p", { class: "hint", text: hint }));
  }

  async showMessage(id) {
    if (this.shown === id) return;
    this.shown = id;
    await this.load(id, async () => {
      const message = cache.get(id) || (await calls.get("message", { id }));
      remember(message);
      if (!message.thread) return { selected: id, messages: [message], more: false };
      const thread = await calls.get("thread", { id: message.thread });
      thread.messages.forEach(remember);
      return thread.messages.some((each) => each.id === id) ? { selected: id, ...thread } : { selected: id, messages: [message], more: true };
    });
  }

  async showThread(id) {
    this.shown = id;
    await this.load(id, async () => ({ selected: null, ...(await calls.get("thread", { id })) }));
  }

  async load(id, fetchAll) {
    this.again = null;
    this.body.setAttribute("aria-busy", "true");
    if (!this.messages?.length) replace(this.body, this.closeButton(), h("p", { class: "hint", text: "loading …" }));
    try {
      const found = await fetchAll();
      if (this.shown !== id) return; // another one was chosen meanwhile
      Object.assign(this, found);
      this.redraw();
      this.body.querySelector(".message.chosen")?.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (this.shown === id) this.showError(error, () => this.load(id, fetchAll));
    } finally {
      this.body.removeAttribute("aria-busy");
    }
  }

  showError(error, again) {
    const isGone = error.reason === "MESSAGE_NOT_FOUND";
    this.again = isGone ? null : again;
    const sentence = isGone ? `There is no such message. ${keptFor()}.` : error.message;
    this.messages = [];
    replace(this.body, this.closeButton(), h("p", { class: "error", role: "alert", text: sentence }), isGone ? null : button("Try again", again));
  }

  closeButton() {
    return this.options.onClose ? button("← Back", this.options.onClose, { class: "back" }) : null;
  }

  redraw() {
    if (!this.messages?.length) return this.shown && replace(this.body, this.closeButton(), h("p", { class: "hint", text: `No message of this thread is left. ${keptFor()}.` }));
    const first = this.messages[0];
    const title = first.thread ? h("span", {}, "Thread ", h("a", { href: href("t", first.thread), text: first.thread })) : parties(first);
    replace(
      this.body,
      h("div", { class: "pane-head" }, this.closeButton(), h("h2", {}, title), this.messages.length > 1 ? h("span", { class: "dim", text: `${this.messages.length} messages` }) : null),
      this.more ? h("p", { class: "hint", text: "Older messages of this thread are not shown." }) : null,
      this.messages.map((message) => this.article(message)),
    );
  }

  article(message) {
    const chosen = message.id === this.selected || this.messages.length === 1;
    return h(
      "article",
      { class: chosen ? "message chosen" : "message", data: { message: message.id, ...own(message) }, "aria-label": `from ${nameOf(message.from)} to ${nameOf(message.to)}` },
      h("header", {}, linkedParties(message), ...badges(message), h("time", { datetime: message.at, title: full(message.at), text: clock(message.at) })),
      h("p", { class: "facts" }, facts(message)),
      h("div", { class: "delivery" }, delivery(message)),
      this.raw ? h("pre", { class: "content", tabindex: 0, text: message.content }) : h("div", { class: "content" }, fromTree(message.tree)),
      metadata(message),
      this.actions(message),
      history(message),
    );
  }

  actions(message) {
    const isOwn = message.to === state.about.operator;
    const isOpen = !["read", "expired", "returned"].includes(deliveryOf(message));
    return h(
      "div",
      { class: "actions" },
      mayAct() ? button("Reply", () => this.options.onReply(message, false), { title: "r" }) : null,
      mayAct() && isOwn && isOpen ? button("Reply and acknowledge", () => this.options.onReply(message, true), { title: "R" }) : null,
      mayAct() && isOwn && isOpen ? button("Acknowledge", () => acknowledge([message]), { title: "e" }) : null,
      state.about.manage && !isOwn && isOpen ? button(`Acknowledge for ${message.to} …`, () => acknowledgeFor(message.to, [message])) : null,
      mayAct() && message.from === state.about.operator ? button("Send again …", () => this.options.onAgain(message), { title: "s" }) : null,
      button("Copy link", () => copyLink(message), { title: "y" }),
      button("Copy text", () => copy(message.content, "text")),
      button(this.raw ? "Formatted" : "Raw", () => this.toggleRaw(), { title: "m", "aria-pressed": String(this.raw) }),
      message.size > 65536 ? button("Save as file", () => save(message)) : null,
    );
  }

  toggleRaw() {
    this.raw = !this.raw;
    this.redraw();
  }

  // The message that keys act on.
  chosen() {
    return this.messages?.find((message) => message.id === this.selected) || this.messages?.at(-1) || null;
  }

  step(by) {
    const index = this.messages?.findIndex((message) => message === this.chosen()) ?? -1;
    const next = this.messages?.[index + by];
    if (!next) return;
    this.selected = next.id;
    this.redraw();
    this.body.querySelector(".message.chosen")?.scrollIntoView({ block: "nearest" });
  }

  async onReceipts(receipts) {
    const ids = new Set(receipts.map((receipt) => receipt.id));
    const changed = (this.messages || []).filter((message) => ids.has(message.id));
    for (const message of changed) {
      const latest = receipts.filter((receipt) => receipt.id === message.id);
      for (const { state: reached, at, to, by, reason } of latest) {
        if (!message.history.some((step) => step.state === reached)) message.history.push({ state: reached, timestamp: at, recipient: to, by, reason });
        if (reason) message.delivery.reason = reason;
        if (reached === "filed") message.delivery.inbox_file_error = null;
      }
      this.refresh(message);
    }
  }

  // Exchanges what a receipt changes, and nothing else: a selection in the text stays.
  refresh(message) {
    const element = this.body.querySelector(`[data-message="${CSS.escape(message.id)}"]`);
    if (!element) return;
    replace(element.querySelector(".facts"), facts(message));
    replace(element.querySelector(".delivery"), delivery(message));
    element.querySelector(".history").replaceWith(history(message, element.querySelector(".history").open));
    if (!element.querySelector(".actions").contains(document.activeElement)) element.querySelector(".actions").replaceWith(this.actions(message));
  }
}

// The names lead to the feed of each: a click is a filter.
function linkedParties({ from, to }) {
  return h(
    "span",
    { class: "parties" },
    h("a", { href: href("feed", "", { from }), title: `everything from ${from}`, text: nameOf(from) }),
    " → ",
    h("a", { href: href("feed", "", { to }), title: `everything to ${to}`, text: nameOf(to) }),
  );
}

function remember(message) {
  cache.delete(message.id);
  cache.set(message.id, message);
  recordState(message.id, message.state);
  if (cache.size > CACHED) cache.delete(cache.keys().next().value);
}

function own(message) {
  return message.to === state.about.operator && message.state !== "read" ? { own: message.id } : {};
}

function facts(message) {
  const sender = message.verified ? "sender verified" : "sender not verified";
  const reached = stateOf(message);
  const parts = [STATES[reached]?.[1] || reached, sender, size(message.size)];
  if (message.expires_at) parts.push(`expires ${clock(message.expires_at)}`);
  if (message.reply_by) parts.push(`answer wanted by ${clock(message.reply_by)}`);
  return [ticks(reached), " ", parts.join(" · ")];
}

// Of a message for another host that is stored, the delivery knows whether it has left.
function stateOf(message) {
  const reached = deliveryOf(message);
  return reached === "stored" && isElsewhere(message) ? message.delivery.state : reached;
}

function isElsewhere(message) {
  return message.to.includes(":");
}

function delivery(message) {
  const errors = [message.delivery.inbox_file_error, message.delivery.team_inbox_error].filter(Boolean);
  const unknown = !message.delivery.recipient_known && !isElsewhere(message) && deliveryOf(message) !== "read";
  const { reason } = message.delivery;
  return [
    reason ? h("p", { class: "warning", text: `${deliveryOf(message) === "returned" ? "The other host did not take it" : "It waits"}: ${reason}` }) : null,
    errors.map((error) => h("p", { class: "warning", text: `Not in the inbox yet: ${error}. The daemon retries until it is.` })),
    unknown ? h("p", { class: "warning", text: `No agent named ${message.to} has ever been present.` }) : null,
  ];
}

function metadata(message) {
  if (!Object.keys(message.metadata || {}).length) return null;
  return h("details", { class: "metadata" }, h("summary", {}, "Metadata"), h("pre", { tabindex: 0, text: JSON.stringify(message.metadata, null, 2) }));
}

function history(message, isOpen = false) {
  const steps = message.history.map((step) => h("li", {}, ticks(step.state), " ", step.state, step.by ? ` (by ${nameOf(step.by)}) ` : " ", step.reason ? `(${step.reason}) ` : null, h("time", { datetime: step.timestamp, title: full(step.timestamp), text: clock(step.timestamp) })));
  const answers = message.answers ? h("p", {}, "Answers ", h("a", { href: href("id", message.answers), text: message.answers })) : null;
  const block = h("details", { class: "history" }, h("summary", {}, "History"), h("ol", {}, steps), answers, h("p", { class: "dim", text: `id ${message.id}` }));
  block.open = isOpen;
  return block;
}

function save(message) {
  download(`${message.id}.txt`, message.content);
}
