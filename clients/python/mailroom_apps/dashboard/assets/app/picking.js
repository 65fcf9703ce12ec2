// Several rows of a list at once: which are picked, and the bar that acknowledges them or copies their ids.

import { acknowledge, acknowledgeFor } from "./actions.js";
import { copy } from "./clipboard.js";
import { button, h, replace, setText } from "./dom.js";
import { deliveryOf, mayAct, state } from "./store.js";

export class Picking {
  // `items()` returns what may be picked, in the order of the list.
  constructor(items) {
    this.items = items;
    this.keys = new Set();
    this.isOn = false;
    this.onChange = () => {};
    this.count = h("b", { role: "status" });
    this.buttons = h("span", { class: "actions" });
    this.bar = h("div", { class: "picking-bar", role: "group", "aria-label": "Selected messages", hidden: true }, this.count, this.buttons);
    this.toggleButton = button("Select", () => (this.isOn ? this.clear() : this.begin()), { "aria-pressed": "false", title: "x" });
  }

  begin() {
    this.isOn = true;
    this.changed();
  }

  clear() {
    this.isOn = false;
    this.anchor = null;
    this.keys.clear();
    this.changed();
  }

  // Picks a row or lets it go; with `extends`, picks everything between the row before and this one.
  toggle(key, { extends: isRange = false } = {}) {
    this.isOn = true;
    const order = isRange ? this.items().map((item) => item.id) : [];
    const [from, to] = [order.indexOf(this.anchor), order.indexOf(key)].sort((a, b) => a - b);
    if (isRange && from >= 0) order.slice(from, to + 1).forEach((each) => this.keys.add(each));
    else if (!this.keys.delete(key)) this.keys.add(key);
    this.anchor = key;
    this.changed();
  }

  picked() {
    return this.keys.size ? this.items().filter((item) => this.keys.has(item.id)) : [];
  }

  changed() {
    const picked = this.picked();
    this.keys = new Set(picked.map((item) => item.id)); // what has left the list is not picked any more
    this.toggleButton.setAttribute("aria-pressed", String(this.isOn));
    this.bar.hidden = !this.isOn;
    setText(this.count, `${picked.length} selected`);
    const hadFocus = this.buttons.contains(document.activeElement);
    replace(this.buttons, this.isOn ? this.actions(picked) : []);
    if (hadFocus) (this.buttons.firstElementChild || this.toggleButton).focus();
    this.onChange();
  }

  // After receipts: what is read already is not acknowledged again.
  refresh() {
    if (this.isOn && !this.buttons.contains(document.activeElement)) this.changed();
  }

  actions(picked) {
    const open = picked.filter((item) => !["read", "expired", "returned"].includes(deliveryOf(item)));
    const own = open.filter((item) => item.to === state.about.operator);
    const recipients = [...new Set(open.map((item) => item.to))];
    const other = recipients.length === 1 && recipients[0] !== state.about.operator ? recipients[0] : "";
    return [
      mayAct() && own.length ? button(`Acknowledge ${own.length}`, () => this.acknowledgeOwn(), { title: "e" }) : null,
      state.about.manage && other ? button(`Acknowledge ${open.length} for ${other} …`, async () => (await acknowledgeFor(other, open)) && this.clear()) : null,
      picked.length ? button("Copy ids", () => this.copyIds(), { title: "Y" }) : null,
      button(`All ${this.items().length}`, () => this.pickAll(), { "aria-label": `select all ${this.items().length} that are loaded` }),
      button("Done", () => this.clear(), { title: "Esc" }),
    ];
  }

  pickAll() {
    this.items().forEach((item) => this.keys.add(item.id));
    this.changed();
  }

  async acknowledgeOwn() {
    const own = this.picked().filter((item) => item.to === state.about.operator && deliveryOf(item) !== "read");
    if (own.length && (await acknowledge(own))) this.clear();
  }

  copyIds() {
    const ids = this.picked().map((item) => item.id);
    return copy(ids.join("\n"), ids.length === 1 ? "id" : `${ids.length} ids`);
  }
}
