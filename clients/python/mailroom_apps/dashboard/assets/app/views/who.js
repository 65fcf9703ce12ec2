// Who talks to whom: senders in rows, recipients in columns, and how many messages in a period.

import * as calls from "../calls.js";
import { button, h, replace, setText } from "../dom.js";
import { nameOf } from "../messages.js";
import { change, href } from "../router.js";
import { on, state } from "../store.js";
import { full } from "../times.js";

const PERIODS = [["0.25", "15 minutes"], ["1", "1 hour"], ["24", "24 hours"]];
const MAX_NAMES = 40;

export class WhoView {
  constructor() {
    this.period = h("select", { "aria-label": "Period", on: { change: () => change({ h: this.period.value }) } }, PERIODS.map(([value, text]) => h("option", { value, text })));
    this.note = h("p", { class: "hint", role: "status" });
    this.holder = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Messages by sender and recipient" });
    this.element = h("div", { class: "page" }, h("div", { class: "toolbar" }, h("h1", { text: "Who talks to whom" }), this.period, button("Count again", () => this.load())), this.note, this.holder);
    this.ends = [on("daemon", () => state.daemon.live && this.failed && this.load())];
  }

  destroy() {
    this.ends.forEach((end) => end());
  }

  show(route) {
    this.period.value = PERIODS.some(([value]) => value === route.query.h) ? route.query.h : "1";
    this.load();
  }

  async load() {
    this.failed = false;
    setText(this.note, "counting …");
    try {
      this.draw(await calls.get("traffic", { hours: this.period.value }));
    } catch (error) {
      this.failed = true;
      setText(this.note, error.message);
      replace(this.holder);
    }
  }

  draw(traffic) {
    const end = traffic.complete ? "" : `, since ${full(traffic.since)}: to count the whole period takes too long`;
    setText(this.note, traffic.messages ? `${traffic.messages} messages${end}` : "No messages in this period.");
    if (!traffic.pairs.length) return replace(this.holder);
    const from = busiest(traffic.pairs, "from");
    const to = busiest(traffic.pairs, "to");
    const counts = new Map(traffic.pairs.map((pair) => [`${pair.from}\n${pair.to}`, pair.count]));
    const max = traffic.pairs[0].count;
    const head = h("tr", {}, h("th", { scope: "col", text: "from ↓ to →" }), to.map((name) => h("th", { scope: "col", class: "column" }, h("span", { text: nameOf(name) }))));
    const rows = from.map((sender) => h("tr", {}, h("th", { scope: "row", text: nameOf(sender) }), to.map((name) => cell(sender, name, counts.get(`${sender}\n${name}`), max))));
    replace(this.holder, h("table", { class: "matrix" }, h("thead", {}, head), h("tbody", {}, rows)));
  }

  keys() {
    return {};
  }
}

function busiest(pairs, side) {
  const sums = new Map();
  for (const pair of pairs) sums.set(pair[side], (sums.get(pair[side]) || 0) + pair.count);
  return [...sums].sort((a, b) => b[1] - a[1]).slice(0, MAX_NAMES).map(([name]) => name).sort();
}

function cell(from, to, count, max) {
  if (!count) return h("td", { class: "cell" });
  const level = Math.ceil((Math.log(count + 1) / Math.log(max + 1)) * 5);
  return h("td", { class: `cell level${level}` }, h("a", { href: href("feed", "", { from, to }), "aria-label": `${count} from ${from} to ${to}`, text: count }));
}
