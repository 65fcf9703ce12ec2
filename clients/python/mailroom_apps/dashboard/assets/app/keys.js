// Keyboard: single keys outside of fields, which one switch turns off; Ctrl+K and Escape always work.

import * as storage from "./storage.js";

export const HELP = [
  ["j / k", "next, previous message"],
  ["Enter, o", "open"],
  ["Esc", "back, close"],
  ["/", "search"],
  ["Ctrl+K, >", "palette: agents, views, commands"],
  ["c", "compose"],
  ["r / R", "reply; reply and acknowledge"],
  ["s", "send again (your own mail): opens it as a draft"],
  ["e", "acknowledge (own mail)"],
  ["x / X", "select the message; all up to here. e and Y then act on them"],
  ["u", "unread only"],
  ["g n, g m, g a, g f, g w, g h", "go to now, mine, agents, feed, who, health"],
  ["[ / ]", "previous, next message of the thread"],
  ["m", "raw or formatted"],
  [".", "pause or continue the list"],
  ["y / Y", "copy the link, the id"],
  ["z", "times: local, UTC, age"],
  ["t", "theme: as the system, light, dark"],
  ["?", "this help"],
];

export class Keys {
  // `find(key)` returns the handler of a single key, or of "g" and a second one; `always` has those that always work.
  constructor(find, always) {
    this.find = find;
    this.always = always;
    this.isOn = storage.read("keys", true);
    this.prefix = "";
    addEventListener("keydown", (event) => this.onKey(event));
  }

  toggle() {
    this.isOn = !this.isOn;
    storage.write("keys", this.isOn);
    return this.isOn;
  }

  onKey(event) {
    if (event.isComposing || event.defaultPrevented) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") return this.run(this.always.palette, event);
    if (event.key === "Escape") return this.onEscape(event);
    if (event.ctrlKey || event.metaKey || event.altKey || !this.isOn || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const key = this.prefix + event.key;
    this.prefix = "";
    if (key === "g") {
      this.prefix = "g ";
      setTimeout(() => (this.prefix = ""), 1500);
      return;
    }
    const handler = this.find(key);
    if (handler) this.run(handler, event);
  }

  onEscape(event) {
    if (document.querySelector("dialog[open]")) return; // the dialog closes itself
    if (isTyping(event.target)) return event.target.blur();
    const handler = this.find("Escape");
    if (handler) this.run(handler, event);
  }

  run(handler, event) {
    event.preventDefault();
    handler();
  }
}

function isTyping(target) {
  return target instanceof HTMLElement && target.type !== "checkbox" && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}
