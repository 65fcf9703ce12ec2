// Lists of messages with a reading pane: the operator's own mail, the mailbox of an agent, the feed, a search. They differ
// in what they list and in the filters that they offer.

import * as calls from "../calls.js";
import { button, downloadBlob, h, replace, setText } from "../dom.js";
import { among, incidentHref, incidentRow, isIncident } from "../incidents.js";
import { List } from "../list.js";
import { isUnread, keptFor, messageRow } from "../messages.js";
import { Pane } from "../pane.js";
import { Picking } from "../picking.js";
import { change, go, href, parse } from "../router.js";
import { deliveryOf, on, recordState, state } from "../store.js";

const FILTERS = { from: "From", to: "To", type: "Type", q: "Words" };
const PRIORITIES = ["", "urgent", "high", "normal", "low"];
const STATES = ["", "unread", "stored", "filed", "offered", "read", "expired", "returned"];
const MAX_ROWS = 10_000;

export class MailboxView {
  // kind: "mine", "m", "feed" or "search".
  constructor(kind, context) {
    this.kind = kind;
    this.context = context;
    this.route = null;
    this.picking = new Picking(() => this.messages());
    this.list = new List({
      label: "Messages",
      row: (item) => (isIncident(item) ? incidentRow(item) : messageRow(item)),
      href: (item) => (isIncident(item) ? incidentHref(item) : this.hrefOf(item)),
      empty: () => this.emptyText(),
      onEnd: () => this.loadMore(),
      picking: this.picking,
      canPick: (item) => !isIncident(item),
    });
    this.pane = new Pane({ onReply: context.onReply, onAgain: context.onAgain, onClose: () => this.back() });
    this.toolbar = h("div", { class: "toolbar" });
    this.status = h("p", { class: "status", role: "status" });
    this.element = h("div", { class: "mailbox" }, h("div", { class: "side" }, this.toolbar, this.picking.bar, this.status, this.list.element), this.pane.element);
    this.ends = [
      on("mail", (messages) => this.onMail(messages)),
      on("receipt", (receipts) => this.onReceipts(receipts)),
      on("situation", () => this.addIncidents()),
      on("reset", () => this.load()),
      on("daemon", () => state.daemon.live && this.failed && this.load()),
      on("times", () => this.list.update((message) => ({ ...message }))),
    ];
  }

  destroy() {
    this.ends.forEach((end) => end());
    this.list.destroy();
    this.pane.destroy();
  }

  filters() {
    const { from = "", to = "", type = "", priority = "", state: delivery = "", thread = "", q = "" } = this.route.query;
    const own = { mine: state.about.operator, m: this.route.name }[this.kind];
    return { from, to: own || to, type, priority, state: delivery, thread, q };
  }

  show(route) {
    const before = this.route && JSON.stringify(this.filters());
    const left = this.route?.query.id;
    this.route = route;
    const { id = "" } = route.query;
    this.element.classList.toggle("reading", Boolean(id));
    this.list.select(id);
    if (id) this.pane.showMessage(id);
    else this.pane.clear("Choose a message to read it here. Reading does not mark it read.");
    if (before === JSON.stringify(this.filters())) {
      this.list.draw();
      if (left && !id) this.list.focus(this.list.items.findIndex((message) => message.id === left));
      return;
    }
    this.picking.clear();
    this.drawToolbar();
    this.load();
  }

  // The rows that are messages.
  messages() {
    return this.list.items.filter((item) => !isIncident(item));
  }

  // What happened to the daemon belongs to the feed of all mail only.
  hasIncidents() {
    return this.kind === "feed" && Object.entries(this.route.query).every(([name, value]) => name === "id" || !value);
  }

  addIncidents() {
    if (!this.route || this.loading || !this.hasIncidents() || !this.list.items.length) return;
    const known = new Set([...this.list.items, ...this.list.waiting].map((item) => item.id));
    const added = state.situation.incidents.filter(({ id }) => id > this.list.items[0].id && !known.has(id));
    if (added.length) this.list.add(added);
  }

  title() {
    return { mine: `Mail to ${state.about.operator}`, m: `Mailbox ${this.route.name}`, feed: "Feed", search: "Search" }[this.kind];
  }

  drawToolbar() {
    const { query } = this.route;
    const names = this.kind === "feed" || this.kind === "search" ? ["q", "from", "to", "type"] : ["q", "from", "type"];
    this.unread = button("Unread only", () => change({ state: query.state === "unread" ? "" : "unread", id: "" }), { "aria-pressed": String(query.state === "unread"), title: "u" });
    this.pause = button("Pause", () => this.togglePause(), { "aria-pressed": "false", title: "." });
    replace(
      this.toolbar,
      h("h1", { text: this.title() }),
      names.map((name) => this.field(name, query[name] || "")),
      this.choice("priority", "Priority", PRIORITIES, query.priority || ""),
      this.kind === "m" || this.kind === "mine" ? null : this.choice("state", "State", STATES, query.state || ""),
      this.unread,
      this.pause,
      this.picking.toggleButton,
      button("Export", () => this.export(), { title: "save this list as JSON lines" }),
      this.kind === "mine" ? button("Sent by you", () => go(href("feed", "", { from: state.about.operator }))) : null,
      this.kind === "m" ? button("Write to them", () => this.context.onWrite(this.route.name)) : null,
      this.kind === "m" && state.about.manage ? button("Clear …", () => this.clear(), { class: "danger" }) : null,
      Object.values(query).some(Boolean) ? button("All", () => go(href(this.kind, this.route.name))) : null,
    );
  }

  field(name, value) {
    const input = h("input", { id: `filter-${name}`, type: "search", placeholder: FILTERS[name], "aria-label": FILTERS[name], autocomplete: "off", list: name === "from" || name === "to" ? "names" : null });
    input.value = value;
    input.addEventListener("change", () => change({ [name]: input.value.trim(), id: "" }));
    return input;
  }

  choice(name, label, values, chosen) {
    const element = h("select", { "aria-label": label }, values.map((value) => h("option", { value, text: value || `any ${label.toLowerCase()}` })));
    element.value = chosen;
    element.addEventListener("change", () => change({ [name]: element.value, id: "" }));
    return element;
  }

  togglePause() {
    this.list.paused = !this.list.paused;
    this.pause.setAttribute("aria-pressed", String(this.list.paused));
    setText(this.pause, this.list.paused ? "Continue" : "Pause");
    if (!this.list.paused) this.list.showWaiting();
  }

  async load() {
    const load = (this.loading = {});
    this.next = null;
    this.failed = null;
    this.fresh = [];
    setText(this.status, this.list.items.length ? "" : "loading …");
    try {
      const page = await calls.get("messages", this.filters());
      if (this.loading !== load) return;
      page.messages.forEach((message) => recordState(message.id, message.state));
      const known = new Set(page.messages.map((message) => message.id));
      this.next = page.next;
      this.loading = null;
      const messages = [...this.fresh.filter((message) => !known.has(message.id)), ...page.messages];
      this.list.set(this.hasIncidents() ? among(messages, { isWhole: !page.next }) : messages);
      setText(this.status, this.summary());
    } catch (error) {
      if (this.loading !== load) return;
      this.failed = error;
      setText(this.status, `${error.message}${error.reason ? ` (${error.reason})` : ""}`);
      this.list.draw();
    } finally {
      if (this.loading === load) this.loading = null;
    }
  }

  // Saves the whole list, with contents, in the form of `mailroom export`.
  async export() {
    try {
      this.context.announce("exporting …");
      downloadBlob(`${this.route.name || this.kind}.jsonl`, await calls.getFile("export", this.filters()));
    } catch (error) {
      this.context.announce(`not exported: ${error.message}`);
    }
  }

  async loadMore() {
    if (!this.next || this.loadingMore || this.loading || this.list.items.length >= MAX_ROWS) return;
    this.loadingMore = true;
    const { next } = this;
    try {
      const page = await calls.get("messages", { ...this.filters(), page: next });
      if (this.next !== next) return; // another list meanwhile
      const known = new Set(this.list.items.map((message) => message.id));
      this.next = page.next;
      const older = page.messages.filter((message) => !known.has(message.id));
      this.list.extend(this.hasIncidents() ? among(older, { newest: this.list.items.at(-1)?.id, isWhole: !page.next }) : older);
      setText(this.status, this.summary());
    } catch (error) {
      setText(this.status, `older messages: ${error.message}`);
      this.next = null;
    } finally {
      this.loadingMore = false;
    }
  }

  summary() {
    const count = this.messages().length;
    if (!count) return "";
    return this.next ? `${count} messages, more below` : `${count === 1 ? "1 message" : `${count} messages`}. ${keptFor()}.`;
  }

  emptyText() {
    if (this.failed || this.loading) return "";
    const names = Object.entries(this.route?.query || {}).filter(([name, value]) => value && name !== "id").map(([, value]) => value);
    if (names.length) return `No message matches ${names.join(", ")}. “All” takes the filters away.`;
    if (this.kind === "mine") return "No mail to you. Nobody is waiting.";
    return this.kind === "m" ? `No mail in the mailbox ${this.route?.name}.` : "No mail yet. `mailroom send bob hello` sends the first message.";
  }

  matches(message) {
    const { from, to, type, priority, state: delivery, thread, q } = this.filters();
    if (q) return false; // the daemon searches; new matches come with the next search
    return (
      (!from || message.from === from) &&
      (!to || message.to === to) &&
      (!type || message.type === type) &&
      (!priority || message.priority === priority) &&
      (!thread || message.thread === thread) &&
      (!delivery || deliveryOf(message) === delivery || (delivery === "unread" && isUnread(message)))
    );
  }

  onMail(messages) {
    if (!this.route) return;
    const known = new Set([...this.list.items, ...this.list.waiting].map((message) => message.id));
    const added = messages.filter((message) => !known.has(message.id) && this.matches(message)).reverse();
    if (!added.length) return;
    if (this.loading) this.fresh = [...added, ...this.fresh]; // the page that is on its way may lack it
    else {
      this.list.add(added);
      if (!this.list.isDisturbed()) this.list.trim(MAX_ROWS);
    }
    setText(this.status, this.summary());
  }

  onReceipts(receipts) {
    const ids = new Set(receipts.map((receipt) => receipt.id));
    if ([...this.list.items, ...this.list.waiting].some((message) => ids.has(message.id))) this.list.update((message) => (ids.has(message.id) ? { ...message } : message));
    this.picking.refresh();
  }

  hrefOf(message) {
    return href(this.route.view, this.route.name, { ...this.route.query, id: message.id });
  }

  back() {
    change({ id: "" });
  }

  async clear() {
    const agent = this.route.name;
    const typed = prompt(`This deletes all mail in the mailbox ${agent}, read and unread, and its files. It cannot be undone. Type the agent's name:`);
    if (typed === null) return;
    try {
      const { deleted } = await calls.post("manage/clear", { agent, typed });
      this.context.announce(`${deleted} messages deleted`);
      this.load();
    } catch (error) {
      this.context.announce(`not cleared: ${error.message}`);
    }
  }

  message() {
    const item = this.route.query.id ? this.pane.chosen() : this.list.currentItem();
    return item && isIncident(item) ? null : item;
  }

  keys() {
    return {
      j: () => this.list.move(1),
      k: () => this.list.move(-1),
      o: () => this.list.currentItem() && go(this.list.options.href(this.list.currentItem())),
      x: () => this.list.pick(),
      X: () => this.list.pick({ extends: true }),
      u: () => this.unread.click(),
      ".": () => this.togglePause(),
      m: () => this.pane.toggleRaw(),
      "[": () => this.pane.step(-1),
      "]": () => this.pane.step(1),
      "/": () => this.toolbar.querySelector("input").focus(),
      Escape: () => (this.picking.isOn ? this.picking.clear() : parse().query.id && this.back()),
    };
  }
}
