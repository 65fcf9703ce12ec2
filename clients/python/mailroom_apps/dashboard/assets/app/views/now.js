// The first screen: who needs the operator, who is stuck and why, which agents there are, and what is being said.

import { button, h, replace, setText } from "../dom.js";
import { among, incidentHref, incidentRow, isIncident } from "../incidents.js";
import { List } from "../list.js";
import * as calls from "../calls.js";
import { badges, messageRow, nameOf } from "../messages.js";
import { href } from "../router.js";
import { isSnoozed, mayAct, on, recordState, snooze, state, tell } from "../store.js";
import { age, ageOf, full, now } from "../times.js";

const FEED_ROWS = 500;
const SNOOZE_MS = 3_600_000;

export class NowView {
  constructor(context) {
    this.context = context;
    this.mine = h("ul", { class: "cards" });
    this.stuck = h("ul", { class: "cards" });
    this.mineTitle = h("h2", { text: "Needs you" });
    this.stuckTitle = h("h2", { text: "Stuck" });
    this.agents = h("div", { class: "agents-table" });
    this.feed = new List({ label: "Latest messages", row: (item) => (isIncident(item) ? incidentRow(item) : messageRow(item)), href: (item) => (isIncident(item) ? incidentHref(item) : href("feed", "", { id: item.id })), empty: () => this.emptyText() });
    this.error = h("p", { class: "error", role: "alert", hidden: true });
    this.element = h(
      "div",
      { class: "now" },
      h("h1", { class: "sr", text: "Now" }),
      this.error,
      h("div", { class: "now-main" }, h("section", { class: "card" }, this.mineTitle, this.mine), h("section", { class: "card" }, this.stuckTitle, this.stuck), h("section", { class: "card" }, h("h2", {}, h("a", { href: href("agents"), text: "Agents" })), this.agents)),
      h("section", { class: "card feed-card" }, h("h2", {}, h("a", { href: href("feed"), text: "Feed" })), this.feed.element),
    );
    this.ends = [
      on("situation", () => (this.draw(), this.addIncidents())),
      on("mail", (messages) => this.onMail(messages)),
      on("receipt", () => this.feed.update((message) => ({ ...message }))),
      on("reset", () => this.load()),
      on("daemon", () => (state.daemon.live && this.failed ? this.load() : this.feed.items.length || this.feed.draw())),
      on("times", () => (this.draw(), this.feed.update((message) => ({ ...message })))),
    ];
  }

  destroy() {
    this.ends.forEach((end) => end());
    this.feed.destroy();
  }

  show() {
    if (!this.shown) this.load();
    this.shown = true;
    this.draw();
  }

  emptyText() {
    if (this.loaded) return "No mail yet.";
    if (!state.daemon.live) return "The daemon does not answer. Its mail is shown when it is back.";
    return this.failed?.message ?? "loading …";
  }

  async load() {
    this.failed = null;
    try {
      const page = await calls.get("messages");
      page.messages.forEach((message) => recordState(message.id, message.state));
      const known = new Set(page.messages.map((message) => message.id));
      this.loaded = true;
      const fresh = this.feed.items.filter((item) => !isIncident(item) && !known.has(item.id) && item.id > (page.messages[0]?.id || ""));
      this.feed.set(among([...fresh, ...page.messages], { isWhole: !page.next }));
    } catch (error) {
      this.failed = error;
      this.feed.draw();
    }
  }

  addIncidents() {
    if (!this.loaded) return;
    const known = new Set([...this.feed.items, ...this.feed.waiting].map((item) => item.id));
    const newest = this.feed.items[0]?.id || "";
    const added = state.situation.incidents.filter(({ id }) => id > newest && !known.has(id));
    if (added.length) this.feed.add(added);
  }

  onMail(messages) {
    const known = new Set(this.feed.items.map((message) => message.id));
    this.feed.add(messages.filter((message) => !known.has(message.id)).reverse());
    if (!this.feed.isDisturbed()) this.feed.trim(FEED_ROWS);
  }

  draw() {
    const { mine, stuck, agents, loaded } = state.situation;
    this.error.hidden = !state.situationError;
    setText(this.error, state.situationError ? state.situationError.message : "");
    this.element.classList.toggle("stale", Boolean(state.situationError) || state.connection.state !== "live");
    const open = stuck.filter((each) => !isSnoozed(each.agent, now()));
    setText(this.mineTitle, `Needs you ${mine.length || ""}`);
    setText(this.stuckTitle, `Stuck ${open.length || ""}`);
    update(this.mine, [...mine].sort(byUrgency), (message) => message.id, (message) => this.mineCard(message), loaded ? "Nobody is waiting for you." : "…");
    update(this.stuck, open, (each) => each.agent, (each) => this.stuckCard(each), loaded ? "Nothing is stuck." : "…");
    replaceIfChanged(this.agents, agents.length ? agentsTable(agents, 12) : [h("p", { class: "hint", text: loaded ? "No agent has been present yet. `mailroom setup claude-code --agent NAME` connects one." : "…" })]);
  }

  mineCard(message) {
    return h(
      "li",
      { data: { own: message.id }, class: message.priority },
      h("a", { href: href("mine", "", { id: message.id }), class: "card-link" }, h("span", { class: "line" }, h("b", { text: message.from }), " → ", nameOf(message.to), ...badges(message), h("time", { datetime: message.at, title: full(message.at), text: age(ageOf(message.at)) })), h("span", { class: "preview unread", text: message.preview })),
      mayAct() ? button("Reply", () => this.context.onReply(message, false), { "aria-label": `reply to ${message.from}` }) : null,
    );
  }

  stuckCard(each) {
    return h(
      "li",
      { class: each.urgent ? "urgent" : "" },
      h("a", { href: href("m", each.agent, { state: "unread", id: each.message_id }), class: "card-link" }, h("span", { class: "line" }, h("span", { class: "warn-sign", "aria-hidden": "true" }, "▲ "), h("b", { class: "parties", text: each.agent }), h("span", { text: `${each.unread} unread, oldest ${age(each.oldest_sec)}` })), h("span", { class: "preview", text: each.sentence })),
      button("Snooze", () => (snooze(each.agent, now() + SNOOZE_MS), tell("situation")), { "aria-label": `snooze ${each.agent} for an hour`, title: "hide it for an hour" }),
    );
  }

  message() {
    const focused = document.activeElement?.closest?.("[data-own]");
    if (focused) return state.situation.mine.find((message) => message.id === focused.dataset.own);
    const item = this.feed.currentItem();
    return item && !isIncident(item) ? item : state.situation.mine[0] || null;
  }

  keys() {
    return { j: () => this.feed.move(1), k: () => this.feed.move(-1) };
  }
}

const ORDER = { urgent: 0, high: 1, normal: 2, low: 3 };

function byUrgency(a, b) {
  return (ORDER[a.priority] ?? 2) - (ORDER[b.priority] ?? 2) || (a.id < b.id ? -1 : 1);
}

// Exchanges the rows that have changed, and leaves the others, and the focus, alone.
function update(list, items, key, card, emptyText) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const rows = items.map((item) => {
    const signature = JSON.stringify(item);
    const existing = old.get(key(item));
    if (existing?.signature === signature || (existing && existing.contains(document.activeElement))) return existing;
    const row = card(item);
    row.dataset.key = key(item);
    row.signature = signature;
    return row;
  });
  if (!rows.length) return replaceIfChanged(list, [h("li", { class: "hint", text: emptyText })]);
  const wanted = new Set(rows);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  rows.forEach((row, index) => list.children[index] !== row && list.insertBefore(row, list.children[index] || null));
}

export function replaceIfChanged(element, children) {
  const holder = h("div", {}, ...children);
  if (element.firstChild && element.textContent === holder.textContent) return;
  if (element.contains(document.activeElement)) return;
  replace(element, ...children);
}

export function agentsTable(agents, max = Infinity) {
  const shown = [...agents].sort((a, b) => Boolean(b.stuck) - Boolean(a.stuck) || b.alive - a.alive || b.unread - a.unread || a.name.localeCompare(b.name)).slice(0, max);
  const rows = shown.map((agent) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("span", { class: agent.alive ? "dot alive" : "dot", "aria-hidden": "true" }, agent.alive ? "●" : "○"), " ", h("a", { href: href("m", agent.name), text: nameOf(agent.name) })),
      h("td", { text: seen(agent) }),
      h("td", { class: "number", text: agent.unread }),
      h("td", { class: "number", text: agent.unread ? age(agent.oldest_sec) : "" }),
      h("td", { class: "hour" }, bars(agent)),
    ),
  );
  const more = agents.length - shown.length;
  return [
    h("table", {}, h("thead", {}, h("tr", {}, ["Agent", "Seen", "Unread", "Oldest", "Last hour"].map((text, index) => h("th", { scope: "col", class: [null, null, "number", "number", "hour"][index], text })))), h("tbody", {}, rows)),
    more > 0 ? h("p", {}, h("a", { href: href("agents"), text: `${more} more` })) : null,
  ];
}

const BLOCKS = "▁▂▃▄▅▆▇█";

// The messages of an agent in the last hour, in and out, as twelve bars of five minutes; the highest bar is full.
export function bars(agent) {
  const max = Math.max(...agent.bars);
  const drawn = agent.bars.map((count) => BLOCKS[count ? Math.max(1, Math.ceil((count / max) * 7)) : 0]).join("");
  return [h("span", { class: "bars", "aria-hidden": "true", title: "messages in and out, by five minutes; since the dashboard was started", text: drawn }), h("span", { class: "dim", text: ` ${agent.in} in, ${agent.out} out` })];
}

export function seen(agent) {
  if (!agent.known) return "never present";
  if (agent.streams) return "listening now";
  return agent.seen ? `${age(ageOf(agent.seen))} ago` : "never";
}
