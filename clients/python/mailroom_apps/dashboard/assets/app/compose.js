// The compose panel: one for the whole page, outside of everything that is redrawn. Its fields are read, never rewritten,
// while somebody types.

import { announce } from "./announce.js";
import { button, h, replace, setText } from "./dom.js";
import * as drafts from "./drafts.js";
import { field, select } from "./fields.js";
import { size } from "./messages.js";
import { near } from "./nearest.js";
import * as outbox from "./outbox.js";
import { OutboxList } from "./outbox-list.js";
import { mayAct, on, state } from "./store.js";
import { clock } from "./times.js";

const LIFETIMES = [["", "never expires"], ["600", "expires in 10 minutes"], ["3600", "expires in 1 hour"], ["86400", "expires in 1 day"], ["604800", "expires in 1 week"]];
const DEADLINES = [["", "no answer needed"], ["300", "answer within 5 minutes"], ["3600", "answer within 1 hour"], ["86400", "answer within 1 day"]];
const PRIORITIES = [["normal", "normal priority"], ["low", "low priority"], ["high", "high priority"], ["urgent", "urgent"]];
const NAME = /^(?!\.)[A-Za-z0-9._-]{1,128}(?:@(?!\.)[A-Za-z0-9._-]{1,128})?(?::[a-z0-9-]{1,63})?$/;
const MAX_CONTENT = 1024 * 1024;

export class Compose {
  constructor() {
    this.draft = drafts.emptyDraft();
    this.id = null;
    this.build();
    on("situation", () => this.drawNames());
    on("about", () => this.showRole());
    on("drafts", () => this.drawOthers());
    on("connection", () => state.connection.state === "live" && drafts.exchange());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && drafts.exchange());
    this.ready = this.restore();
  }

  build() {
    this.chips = h("span", { class: "chips" });
    this.names = h("datalist", { id: "names" });
    this.to = h("input", { id: "compose-to", list: "names", autocomplete: "off", placeholder: "agent", "aria-describedby": "compose-hint", on: { input: () => this.onTo(), keydown: (event) => this.onToKey(event), blur: () => this.takeName() } });
    this.content = h("textarea", { id: "compose-content", rows: 3, placeholder: "Write a message. Ctrl+Enter sends it.", on: { input: () => this.changed(), keydown: (event) => this.onContentKey(event) } });
    this.priority = select("Priority", PRIORITIES, () => this.changed());
    this.ttl = select("Time to live", LIFETIMES, () => this.changed());
    this.replyBy = select("Answer by", DEADLINES, () => this.changed());
    this.thread = h("input", { id: "compose-thread", autocomplete: "off", on: { input: () => this.changed() } });
    this.type = h("input", { id: "compose-type", autocomplete: "off", placeholder: "text", on: { input: () => this.changed() } });
    this.metadata = h("textarea", { id: "compose-metadata", rows: 2, placeholder: "{}", spellcheck: "false", on: { input: () => this.changed() } });
    this.about = h("span", { class: "dim" });
    this.hint = h("p", { id: "compose-hint", class: "hint" });
    this.saved = h("span", { class: "dim" });
    this.others = h("span", { class: "others" });
    this.sendButton = button("Send", () => this.send(), { class: "primary" });
    this.outboxList = new OutboxList((entry) => this.edit(entry)).element;
    this.more = h("details", { class: "more" }, h("summary", {}, "More"), field("Thread", this.thread), field("Type", this.type), field("Metadata", this.metadata));
    this.form = h(
      "div",
      { class: "compose-form", hidden: true },
      h("div", { class: "compose-row" }, h("label", { for: "compose-to", text: "To" }), this.chips, this.to, this.names, this.about),
      h("label", { for: "compose-content", class: "sr", text: "Message" }),
      this.content,
      this.hint,
      h("div", { class: "compose-row" }, this.priority, this.ttl, this.replyBy, this.more),
      h("div", { class: "compose-row" }, this.sendButton, button("Discard", () => this.discard()), button("Close", () => this.close()), this.saved, this.others),
    );
    this.opener = button("Write a message", () => this.open(), { class: "opener", title: "c", "aria-expanded": "false" });
    this.element = h("section", { class: "compose", "aria-label": "Compose" }, this.outboxList, this.opener, this.form);
  }

  // Picks up the latest draft that no other tab has.
  async restore() {
    for (const [id, draft] of drafts.stored()) {
      const release = await drafts.claim(id);
      if (!release) continue;
      this.take(id, draft, release);
      this.opensWhenAllowed = !drafts.isEmpty(draft); // the role is not known yet
      if (this.opensWhenAllowed && mayAct()) this.open(false);
      return;
    }
    await this.startNew();
  }

  async startNew(more = {}) {
    const draft = drafts.emptyDraft(more);
    const id = draft.key;
    this.take(id, draft, await drafts.claim(id));
  }

  take(id, draft, release) {
    this.release?.();
    this.release = release;
    this.id = id;
    this.draft = draft;
    this.to.value = draft.typed;
    this.content.value = draft.content;
    this.priority.lastChild.value = draft.priority;
    this.ttl.lastChild.value = draft.ttl;
    this.replyBy.lastChild.value = draft.replyBy;
    this.thread.value = draft.thread;
    this.type.value = draft.type;
    this.metadata.value = draft.metadata;
    this.more.open = Boolean(draft.metadata || draft.type);
    setText(this.about, draft.about);
    setText(this.saved, "");
    this.drawChips();
    this.drawOthers();
    this.check();
  }

  // Drafts that were left for another one; a click continues them.
  drawOthers() {
    const others = drafts.stored().filter(([id, draft]) => id !== this.id && !drafts.isEmpty(draft));
    const elsewhere = drafts.fromElsewhere();
    const label = (draft) => `Draft to ${draft.to.join(", ") || "nobody yet"}`;
    replace(
      this.others,
      others.map(([id, draft]) => button(label(draft), () => this.switchTo(id), { title: draft.content.slice(0, 80) })),
      elsewhere.map(([id, draft]) => button(`${label(draft)}, from another browser`, () => this.continueHere(id, draft), { title: draft.content.slice(0, 80) })),
    );
    if (this.form.hidden) setText(this.opener, this.openerText());
  }

  openerText() {
    if (!drafts.isEmpty(this.draft)) return "Continue your draft";
    return this.others.childElementCount ? "Write a message, or continue a draft" : "Write a message";
  }

  async switchTo(id) {
    const release = await drafts.claim(id);
    const found = drafts.stored().find(([name]) => name === id);
    if (!release || !found) return announce("this draft is open in another tab, or was sent");
    this.take(id, found[1], release);
    this.content.focus();
  }

  // Continues what another browser has begun, under its key. Another version of a draft that this browser has, too,
  // becomes a draft of its own: both are kept.
  async continueHere(id, draft) {
    const isVersion = drafts.stored().some(([name]) => name === id);
    const own = isVersion ? { ...draft, key: drafts.newKey() } : draft;
    const release = await drafts.claim(own.key);
    if (!release) return announce("this draft is open in another tab");
    drafts.save(own.key, own);
    state.sharedDrafts = state.sharedDrafts.filter(([name]) => name !== id);
    this.take(own.key, own, release);
    this.content.focus();
  }

  async open(focuses = true) {
    if (!mayAct()) return announce("this session may only watch");
    this.form.hidden = false;
    this.opener.hidden = true;
    document.body.classList.add("composing");
    if (focuses) (this.draft.to.length ? this.content : this.to).focus();
  }

  close() {
    this.form.hidden = true;
    this.opener.hidden = false;
    document.body.classList.remove("composing");
    setText(this.opener, this.openerText());
    this.opener.focus();
  }

  // Does what ends with the focus in the panel. Until then, keys are no commands: somebody may be typing the message already.
  async opening(open) {
    this.isOpening = true;
    try {
      await open();
    } finally {
      this.isOpening = false;
    }
  }

  // Begins or continues a reply; the draft that was open stays stored.
  async reply(message, acknowledges) {
    await this.ready;
    if (!mayAct()) return announce("this session may only watch");
    const existing = drafts.stored().find(([, draft]) => draft.answers === message.id);
    const other = message.from === state.about.operator ? message.to : message.from;
    if (this.draft.answers !== message.id) {
      const release = existing && (await drafts.claim(existing[0]));
      if (release) this.take(existing[0], existing[1], release);
      else await this.startNew({ to: [other], thread: message.thread || "", answers: message.id, about: `answers “${message.preview.slice(0, 60)}”` });
    }
    this.draft.acknowledges = acknowledges ? message.id : "";
    await this.open();
  }

  async writeTo(agent) {
    await this.ready;
    if (!drafts.isEmpty(this.draft)) await this.startNew();
    this.draft.to = [agent];
    this.drawChips();
    await this.open();
  }

  changed() {
    Object.assign(this.draft, {
      typed: this.to.value,
      content: this.content.value,
      priority: this.priority.lastChild.value,
      ttl: this.ttl.lastChild.value,
      replyBy: this.replyBy.lastChild.value,
      thread: this.thread.value,
      type: this.type.value,
      metadata: this.metadata.value,
    });
    const isStored = drafts.save(this.id, this.draft);
    setText(this.saved, isStored ? `draft saved ${new Date().toLocaleTimeString(undefined, { hour12: false })}` : "the draft could not be saved: the browser's storage is full");
    this.check();
  }

  check() {
    const problems = this.problems();
    const unknown = this.draft.to.filter((name) => state.situation.loaded && !name.includes(":") && !state.situation.agents.some((agent) => agent.known && (agent.name === name || agent.sessions.includes(name))));
    const notes = [...problems, ...unknown.map((name) => `no agent named ${name} has ever been present${near(name)}`)];
    setText(this.hint, notes.join(" · ") || `${size(new TextEncoder().encode(this.content.value).length)}`);
    this.hint.classList.toggle("warning", notes.length > 0);
    return problems;
  }

  problems() {
    const found = [];
    if (new TextEncoder().encode(this.content.value).length > MAX_CONTENT) found.push("the message is larger than 1 MiB: split it");
    for (const name of this.draft.to) if (!NAME.test(name)) found.push(`${name} is not a valid name`);
    if (this.metadata.value.trim()) {
      try {
        const value = JSON.parse(this.metadata.value);
        if (value === null || typeof value !== "object" || Array.isArray(value)) found.push("the metadata is not a JSON object");
      } catch (error) {
        found.push(`the metadata is not JSON: ${error.message}`);
      }
    }
    return found;
  }

  onTo() {
    if (/[\s,;]$/.test(this.to.value)) this.takeName();
    this.changed();
  }

  onToKey(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && this.to.value.trim()) {
      event.preventDefault();
      this.takeName();
    } else if (event.key === "Enter" && event.ctrlKey) this.send();
    else if (event.key === "Backspace" && !this.to.value && this.draft.to.length) this.removeName(this.draft.to.at(-1));
  }

  onContentKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      this.send();
    }
  }

  takeName() {
    const names = this.to.value.split(/[\s,;]+/).filter(Boolean);
    if (!names.length) return;
    this.draft.to = [...new Set([...this.draft.to, ...names])];
    this.to.value = "";
    this.drawChips();
    this.changed();
  }

  removeName(name) {
    this.draft.to = this.draft.to.filter((each) => each !== name);
    this.drawChips();
    this.changed();
    this.to.focus();
  }

  drawChips() {
    const remove = (name) => button("×", () => this.removeName(name), { "aria-label": `remove ${name}` });
    replace(this.chips, this.draft.to.map((name) => h("span", { class: NAME.test(name) ? "chip" : "chip bad" }, name, remove(name))));
  }

  drawNames() {
    const shown = [...state.situation.agents].sort((a, b) => b.alive - a.alive || a.name.localeCompare(b.name));
    const key = shown.map((agent) => agent.name + agent.alive).join();
    if (key === this.namesKey) return;
    this.namesKey = key;
    replace(this.names, shown.map((agent) => h("option", { value: agent.name, text: agent.alive ? "alive" : agent.known ? "away" : "never present" })));
  }

  showRole() {
    this.element.hidden = !mayAct();
    if (!mayAct()) this.form.hidden = true;
    else if (this.opensWhenAllowed) this.open(false);
    this.opensWhenAllowed = false;
  }

  async send() {
    this.takeName();
    this.changed();
    const problems = this.check();
    if (!this.draft.to.length) problems.push("name a recipient");
    if (!this.content.value) problems.push("write something");
    if (problems.length) {
      setText(this.hint, problems.join(" · "));
      this.hint.classList.add("warning");
      announce(problems[0]);
      return (this.draft.to.length ? this.content : this.to).focus();
    }
    const { id } = this;
    if (!outbox.put(this.submission(), this.draft.about)) return announce("not sent: the browser's storage is full");
    drafts.discard(id); // only now that the outbox has it, under the same key
    await this.startNew();
    this.content.focus();
  }

  submission() {
    const { draft } = this;
    return {
      key: draft.key,
      to: draft.to,
      content: draft.content,
      type: draft.type,
      thread: draft.thread,
      answers: draft.answers,
      priority: draft.priority,
      metadata: draft.metadata.trim() ? JSON.parse(draft.metadata) : null,
      ttl_sec: draft.ttl ? Number(draft.ttl) : null,
      reply_by_sec: draft.replyBy ? Number(draft.replyBy) : null,
      acknowledges: draft.acknowledges,
    };
  }

  async discard() {
    if (!drafts.isEmpty(this.draft) && this.draft.content && !confirm("Discard this draft?")) return;
    drafts.discard(this.id);
    await this.startNew();
    this.close();
  }

  // Fills the panel with a message that was sent before, as a new draft with a key of its own; sending it is the reader's.
  async again(message) {
    await this.ready;
    if (!mayAct()) return announce("this session may only watch");
    const seconds = message.expires_at ? String(Math.round((Date.parse(message.expires_at) - Date.parse(message.at)) / 1000)) : "";
    await this.startNew({
      to: [message.to],
      content: message.content,
      priority: message.priority,
      ttl: LIFETIMES.some(([value]) => value === seconds) ? seconds : "",
      thread: message.thread || "",
      answers: message.answers || "",
      about: `again, as sent ${clock(message.at)}`,
      type: message.type === "text" ? "" : message.type,
      metadata: Object.keys(message.metadata || {}).length ? JSON.stringify(message.metadata) : "",
    });
    this.changed();
    await this.open();
  }

  // Makes a draft of an entry that was refused, for those recipients only that did not get it; under a new key, since the
  // text may change.
  async edit(entry) {
    const { submission } = entry;
    const failed = entry.results.filter((result) => result.outcome !== "sent").map((result) => result.to);
    await this.startNew({
      to: failed.length ? failed : submission.to,
      content: submission.content,
      priority: submission.priority,
      ttl: String(submission.ttl_sec || ""),
      replyBy: String(submission.reply_by_sec || ""),
      thread: submission.thread,
      answers: submission.answers,
      about: entry.from || "",
      type: submission.type,
      metadata: submission.metadata ? JSON.stringify(submission.metadata) : "",
      acknowledges: submission.acknowledges,
    });
    this.changed();
    outbox.discard(entry.key); // the draft has it now
    await this.open();
  }
}
