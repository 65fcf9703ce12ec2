// The daemon: its workers, rates, latencies, queues and space, now and over the last hour or day.

import * as calls from "../calls.js";
import { h, replace, setText, svg } from "../dom.js";
import { change } from "../router.js";
import { on, state } from "../store.js";
import { age, ageOf, clock } from "../times.js";

const EVERY_MS = 2000;
const WIDTH = 600;
const HEIGHT = 90;
const PLOTS = [
  ["Messages sent per second", (point) => point.sends],
  ["Acknowledged per second", (point) => point.read],
  ["Send, p99 in ms", (point) => point.p99.send],
  ["Commit, p99 in ms", (point) => point.p99.commit],
  ["Fsync, p99 in ms", (point) => point.p99.fsync],
  ["Waiting items", (point) => point.waiting],
  ["Refusals per second", (point) => point.refusals],
];

export class HealthView {
  constructor() {
    this.range = h("select", { "aria-label": "Period", on: { change: () => change({ h: this.range.value }) } }, h("option", { value: "1", text: "last hour" }), h("option", { value: "24", text: "last day" }));
    this.note = h("p", { class: "hint", role: "status" });
    this.workers = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Workers" });
    this.plots = h("div", { class: "plots" });
    this.facts = h("div", { class: "facts-grid" });
    this.element = h("div", { class: "page" }, h("div", { class: "toolbar" }, h("h1", { text: "Health" }), this.range), this.note, this.workers, this.plots, this.facts);
    this.ends = [on("times", () => this.load())];
  }

  destroy() {
    clearInterval(this.timer);
    this.ends.forEach((end) => end());
  }

  show(route) {
    this.range.value = route.query.h === "24" ? "24" : "1";
    clearInterval(this.timer);
    this.timer = setInterval(() => document.visibilityState === "visible" && this.load(), EVERY_MS);
    this.load();
  }

  async load() {
    try {
      this.draw(await calls.get("health"));
    } catch (error) {
      this.element.classList.add("stale");
      setText(this.note, error.message);
    }
  }

  draw({ health, overview, fine, coarse }) {
    const points = this.range.value === "24" ? coarse : fine;
    this.element.classList.toggle("stale", health === "unreachable");
    const since = points.length ? `samples since ${clock(new Date(points[0].at).toISOString())}` : "no samples yet";
    const words = { serving: "The daemon accepts mail", not_serving: "The daemon runs, but does not accept mail now", unreachable: "The daemon does not answer" };
    setText(this.note, `${words[health] || "Collecting"}; ${since}. ${health === "unreachable" ? state.daemon.sentence : ""}`);
    if (overview) {
      replace(this.workers, workersTable(overview));
      replace(this.facts, factsOf(overview));
    }
    replace(this.plots, PLOTS.map(([title, value]) => plot(title, points, value)));
  }

  keys() {
    return {};
  }
}

function workersTable({ version, workers }) {
  const names = ["Worker", "State", "Pid", "Restarts", "Up", "Last exit"];
  const rows = workers.map((worker) =>
    h("tr", {}, h("th", { scope: "row", text: worker.name }), h("td", { class: worker.state === "running" ? "" : "warning", text: worker.state }), h("td", { class: "number", text: worker.pid }), h("td", { class: "number", text: worker.restarts }), h("td", { text: worker.started_at ? age(ageOf(worker.started_at)) : "" }), h("td", { text: worker.last_exit || "–" })),
  );
  return [h("table", { class: "wide" }, h("caption", { text: `mailroomd ${version}` }), h("thead", {}, h("tr", {}, names.map((text) => h("th", { scope: "col", text })))), h("tbody", {}, rows))];
}

function factsOf({ milliseconds, queues, refusals, gauges, per_second: rates, hub }) {
  const latency = Object.entries(milliseconds).map(([name, pair]) => [name, pair ? `${pair[0]} / ${pair[1]} ms` : "–"]);
  const share = (name) => `${(((gauges[`${name}_used`] || 0) / Math.max(1, gauges[`${name}_size`] || 0)) * 100).toFixed(1)} %`;
  const space = [
    ["database", `${((gauges.database_bytes_used || 0) / 1e6).toFixed(1)} MB`],
    ["disk free", `${((gauges.disk_free_bytes_state || 0) / 1e9).toFixed(1)} GB`],
    ["table", share("table_ring_bytes")],
    ["mailboxes", share("table_mailboxes")],
    ["subscribers", gauges.subscribers || 0],
  ];
  return [
    facts("Per second", Object.entries(rates).map(([name, rate]) => [name, rate.toFixed(1)])),
    facts("Latency, p50 / p99", latency),
    facts("Waiting", Object.entries(queues).map(([name, count]) => [name.replaceAll("_", " "), count])),
    facts("Refused since the last sample", Object.entries(refusals).length ? Object.entries(refusals) : [["none", ""]]),
    facts("Space", space),
    ...(hub ? [facts(`Other hosts: ${hub.problem || (hub.connected ? "connected" : "the hub is not reached")}`, hub.hosts.map(hostFact))] : []),
  ];
}

function hostFact({ name, waiting, problem }) {
  return [name, problem || (waiting ? `${waiting} messages wait for it` : "nothing waits")];
}

function facts(title, pairs) {
  return h("section", { class: "card" }, h("h2", { text: title }), h("dl", {}, pairs.map(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })])));
}

function plot(title, points, value) {
  const known = points.map((point) => [point.at, value(point)]).filter(([, y]) => Number.isFinite(y));
  const max = Math.max(...known.map(([, y]) => y), 0);
  const latest = known.length ? known.at(-1)[1] : null;
  const summary = latest === null ? "no value yet" : `last ${round(latest)}, highest ${round(max)}`;
  const period = points.length ? [points[0].at, points.at(-1).at] : [0, 0];
  return h("figure", { class: "card plot" }, h("figcaption", {}, h("b", { text: title }), " ", h("span", { class: "dim", text: summary })), drawing(known, max, period, `${title}: ${summary}`));
}

// All plots have one period, so that what happened at one time is at one place. A single value is a short stroke.
function drawing(known, max, [begin, end], label) {
  const image = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  image.append(svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1, class: "axis" }));
  if (!known.length) return image;
  const place = (at, y) => `${(((at - begin) / Math.max(1, end - begin)) * WIDTH).toFixed(1)},${(HEIGHT - 2 - (y / (max || 1)) * (HEIGHT - 6)).toFixed(1)}`;
  const around = (end - begin) / 50;
  const line = known.length > 1 ? known : [-around, around].map((by) => [known[0][0] + by, known[0][1]]);
  image.append(svg("polyline", { points: line.map(([at, y]) => place(at, y)).join(" "), class: "curve" }));
  return image;
}

function round(value) {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
