// What was done through this dashboard, and which browsers have a session.

import { announce } from "../announce.js";
import * as calls from "../calls.js";
import { button, h, replace, setText } from "../dom.js";
import { href } from "../router.js";
import { on } from "../store.js";
import { clock, full } from "../times.js";

export class AuditView {
  constructor() {
    this.note = h("p", { class: "hint", role: "status" });
    this.sessions = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Sessions" });
    this.entries = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Actions" });
    this.element = h("div", { class: "page" }, h("div", { class: "toolbar" }, h("h1", { text: "Audit" })), this.note, h("h2", { text: "Browsers" }), this.sessions, h("h2", { text: "Actions" }), this.entries);
    this.ends = [on("times", () => this.load())];
  }

  destroy() {
    this.ends.forEach((end) => end());
  }

  show() {
    this.load();
  }

  async load() {
    try {
      const { entries, sessions, own } = await calls.get("audit");
      setText(this.note, "");
      replace(this.sessions, sessionsTable(sessions, own, (id) => this.revoke(id)));
      replace(this.entries, entries.length ? entriesTable(entries) : h("p", { class: "hint", text: "Nothing was done yet." }));
    } catch (error) {
      setText(this.note, error.message);
    }
  }

  async revoke(id) {
    try {
      await calls.post("session/revoke", { session: id });
      announce("the session has ended");
    } catch (error) {
      announce(`not ended: ${error.message}`);
    }
    this.load();
  }

  keys() {
    return {};
  }
}

function sessionsTable(sessions, own, revoke) {
  const rows = sessions.map((session) =>
    h("tr", {}, h("th", { scope: "row", text: session.id + (session.id === own ? " (this one)" : "") }), h("td", { text: session.role }), moment(session.created_at), moment(session.used_at), h("td", { class: "dim", text: session.agent }), h("td", {}, button("End", () => revoke(session.id), { "aria-label": `end session ${session.id}` }))),
  );
  return table(["Session", "Role", "Opened", "Used", "Browser", ""], rows);
}

function entriesTable(entries) {
  const rows = entries.map(({ at, session, role, action, ...details }) => h("tr", {}, moment(at), h("td", { text: session }), h("td", { text: role }), h("th", { scope: "row", text: action }), h("td", {}, describe(details))));
  return table(["When", "Session", "Role", "Action", "Details"], rows);
}

function describe({ results = [], ids = [], ...rest }) {
  const links = [...results.filter((result) => result.id).map((result) => [result.id, `${result.to} `]), ...ids.map((id) => [id, ""])];
  const refused = results.filter((result) => !result.id).map((result) => `${result.to}: ${result.outcome} `);
  const others = Object.entries(rest).filter(([name]) => name !== "key").map(([name, value]) => `${name} ${value} `);
  return [links.map(([id, name]) => [name, h("a", { href: href("id", id), text: id }), " "]), refused, others];
}

function moment(iso) {
  return h("td", {}, h("time", { datetime: iso, title: full(iso), text: clock(iso) }));
}

function table(names, rows) {
  return h("table", { class: "wide" }, h("thead", {}, h("tr", {}, names.map((text) => (text ? h("th", { scope: "col", text }) : h("td"))))), h("tbody", {}, rows));
}
