// The frame of the page: navigation, the line that says what is connected, and the notice in place of a session.

import { button, h, replace, setText } from "./dom.js";
import { href } from "./router.js";
import { on, state } from "./store.js";
import { age, clock, skewSec } from "./times.js";

const VIEWS = [["now", "Now"], ["mine", "Mine"], ["agents", "Agents"], ["feed", "Feed"], ["who", "Who"], ["health", "Health"], ["audit", "Audit"]];
const MAX_SKEW_SEC = 5;

export class Frame {
  // actions: `palette`, `help`, `theme`, `times`, `notifications`.
  constructor(actions) {
    this.links = new Map(VIEWS.map(([view, label]) => [view, h("a", { href: href(view), text: label })]));
    this.badge = h("span", { class: "count" });
    this.links.get("mine").append(" ", this.badge);
    this.lights = h("span", { class: "lights" });
    this.asOf = h("span", { class: "dim as-of" });
    this.sentenceShown = h("span");
    this.reload = button("Reload", () => location.reload(), { hidden: true });
    this.notice = h("p", { class: "notice", role: "alert", hidden: true }, this.sentenceShown, " ", this.reload);
    this.main = h("main", { id: "main", tabindex: -1 });
    const skip = h("a", { href: "#main-content", class: "skip", text: "Skip to the content", on: { click: (event) => (event.preventDefault(), this.main.focus()) } });
    this.header = h(
      "header",
      { class: "top" },
      skip,
      h("span", { class: "brand", text: "Mailroom" }),
      h("nav", { "aria-label": "Views" }, [...this.links.values()]),
      h("span", { class: "tools" }, button("Search or command", actions.palette, { title: "Ctrl+K" }), button("Times", actions.times, { title: "z" }), button("Theme", actions.theme, { title: "t" }), button("Notify", actions.notifications), button("?", actions.help, { title: "?", "aria-label": "Keys" })),
      h("span", { class: "connection" }, this.lights, this.asOf),
    );
    for (const kind of ["connection", "daemon", "about"]) on(kind, () => this.draw());
    on("situation", () => setText(this.badge, state.situation.mine.length ? `${state.situation.mine.length}${state.situation.more_mine ? "+" : ""}` : ""));
    setInterval(() => this.drawAge(), 1000);
    this.draw();
  }

  mount(...others) {
    replace(document.body, this.header, this.notice, this.main, ...others);
  }

  mark(view) {
    for (const [name, link] of this.links) {
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  draw() {
    const { connection, daemon } = state;
    const isLive = connection.state === "live";
    const lights = [["dashboard", isLive], ["daemon", isLive && daemon.live], ["mail", isLive && daemon.live && daemon.health === "serving"]];
    const key = JSON.stringify(lights);
    if (key !== this.lightsKey) {
      this.lightsKey = key;
      replace(this.lights, lights.map(([name, isOn]) => h("span", { class: isOn ? "light on" : "light", title: isOn ? `${name}: connected` : `${name}: not connected` }, h("span", { "aria-hidden": "true" }, isOn ? "●" : "○"), ` ${name}`, h("span", { class: "sr", text: isOn ? " connected" : " not connected" }))));
    }
    const sentence = this.sentence(isLive);
    this.notice.hidden = !sentence;
    setText(this.sentenceShown, sentence);
    this.reload.hidden = !(isLive && state.isOutdated && daemon.live);
    document.body.classList.toggle("away", !isLive || !daemon.live);
    this.links.get("audit").hidden = state.about.role !== "operator";
    this.drawAge();
  }

  sentence(isLive) {
    const { connection, daemon } = state;
    if (connection.state === "connecting" || connection.state === "signed-out") return "";
    if (!isLive) return `Not connected: ${connection.sentence}. What you see is older; you can go on writing.`;
    if (!daemon.live) return `${daemon.sentence} What you write goes out when it is back.`;
    if (daemon.health === "not_serving") return "The daemon runs, but does not accept mail now; `mailroom doctor` says why.";
    if (state.isOutdated) return "The dashboard was updated: this page is of the version before. What you write is kept.";
    return Math.abs(skewSec()) > MAX_SKEW_SEC ? `The clock of this computer and that of the server differ by ${age(Math.abs(skewSec()))}; times are the server's.` : "";
  }

  drawAge() {
    const { state: name, at } = state.connection;
    setText(this.asOf, !at ? "" : name === "live" ? `as of ${clock(new Date(at).toISOString())}` : `${age((Date.now() - at) / 1000)} old`);
  }

  showSignIn(sentence) {
    replace(this.main, h("div", { class: "sign-in" }, h("h1", { text: "This browser has no session" }), h("p", { text: sentence || "Open the link that the dashboard printed." }), h("p", {}, "In a terminal: ", h("code", { text: "mailroom dashboard link" })), h("p", { class: "dim", text: "Drafts in this browser are kept." })));
  }
}
