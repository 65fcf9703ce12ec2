// All agents and mailboxes: when each was seen last, and what it has not read.

import { h, hidden, replace } from "../dom.js";
import { nameOf } from "../messages.js";
import { change, href } from "../router.js";
import { on, state } from "../store.js";
import { age } from "../times.js";
import { bars, seen } from "./now.js";

const SORTS = {
  needs: (a, b) => Boolean(b.stuck) - Boolean(a.stuck) || b.oldest_sec - a.oldest_sec || a.name.localeCompare(b.name),
  name: (a, b) => a.name.localeCompare(b.name),
  seen: (a, b) => (b.seen || "").localeCompare(a.seen || ""),
  unread: (a, b) => b.unread - a.unread || a.name.localeCompare(b.name),
};
const MAX_SHOWN = 500;
const SECONDARY = new Set(["Streams", "Stored"]); // left out where there is little room

export class AgentsView {
  constructor(context) {
    this.context = context;
    this.body = h("tbody");
    this.sort = h("select", { "aria-label": "Sort by", on: { change: () => change({ sort: this.sort.value }) } }, Object.keys(SORTS).map((name) => h("option", { value: name, text: `by ${name}` })));
    this.alive = h("input", { type: "checkbox", id: "alive-only", on: { change: () => change({ alive: this.alive.checked ? "1" : "" }) } });
    this.note = h("p", { class: "hint", role: "status" });
    const names = ["Agent", "Seen", "Streams", "Unread", "Oldest", "Stored", "Last hour", "Sessions", "Note"];
    this.holder = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Agents" }, h("table", { class: "wide" }, h("thead", {}, h("tr", {}, names.map((text) => h("th", { scope: "col", class: SECONDARY.has(text) ? "secondary" : null, text })))), this.body));
    this.element = h(
      "div",
      { class: "page" },
      h("div", { class: "toolbar" }, h("h1", { text: "Agents" }), this.sort, h("label", { for: "alive-only" }, this.alive, " alive only")),
      this.note,
      this.holder,
    );
    this.ends = [on("situation", () => this.draw()), on("times", () => this.draw())];
  }

  destroy() {
    this.ends.forEach((end) => end());
  }

  show(route) {
    this.query = route.query;
    this.sort.value = SORTS[route.query.sort] ? route.query.sort : "needs";
    this.alive.checked = Boolean(route.query.alive);
    this.draw();
  }

  draw() {
    const { agents, loaded } = state.situation;
    const shown = agents.filter((agent) => !this.query.alive || agent.alive).sort(SORTS[this.sort.value]);
    this.element.classList.toggle("stale", Boolean(state.situationError) || state.connection.state !== "live");
    const empty = this.query.alive && agents.length ? `None of ${agents.length} agents is alive.` : "No agent has been present yet. `mailroom setup claude-code --agent NAME` connects one.";
    replace(this.note, state.situationError?.message || (loaded && !shown.length ? empty : shown.length > MAX_SHOWN ? `${MAX_SHOWN} of ${shown.length} are shown` : ""));
    this.holder.hidden = !shown.length;
    const focused = document.activeElement?.closest?.("[data-agent]")?.dataset.agent;
    replace(this.body, shown.slice(0, MAX_SHOWN).map(row));
    if (focused) this.body.querySelector(`[data-agent="${CSS.escape(focused)}"] a`)?.focus();
  }

  keys() {
    return { j: () => this.move(1), k: () => this.move(-1) };
  }

  move(step) {
    const links = [...this.body.querySelectorAll("th a")];
    const index = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, index + step))]?.focus();
  }
}

function row(agent) {
  return h(
    "tr",
    { data: { agent: agent.name } },
    h("th", { scope: "row" }, h("span", { class: agent.alive ? "dot alive" : "dot", "aria-hidden": "true" }, agent.alive ? "●" : "○"), hidden(agent.alive ? "alive" : "not alive"), " ", h("a", { href: href("m", agent.name), text: nameOf(agent.name) })),
    h("td", { text: seen(agent) }),
    h("td", { class: "number secondary", text: agent.streams }),
    h("td", { class: "number", text: agent.unread }),
    h("td", { class: "number", text: agent.unread ? age(agent.oldest_sec) : "" }),
    h("td", { class: "number secondary", text: agent.total }),
    h("td", { class: "hour" }, bars(agent)),
    h("td", { class: "dim", text: agent.sessions.join(", ") }),
    h("td", { class: agent.stuck ? "warning" : "", text: agent.stuck || "" }),
  );
}
