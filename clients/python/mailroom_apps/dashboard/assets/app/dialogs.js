// The palette, which finds agents, views and commands by a few characters, and the help of the keys.

import { button, h, replace } from "./dom.js";
import { HELP } from "./keys.js";

const MAX_SHOWN = 12;

export class Palette {
  // `entries()` returns what there is: `{ label, hint, run }`.
  constructor(entries) {
    this.entries = entries;
    this.input = h("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", "aria-label": "Find an agent, a view or a command", autocomplete: "off", placeholder: "agent, view or command", on: { input: () => this.draw(), keydown: (event) => this.onKey(event) } });
    this.list = h("ul", { id: "palette-list", role: "listbox", "aria-label": "Found" });
    this.element = h("dialog", { class: "palette", "aria-label": "Palette" }, this.input, this.list);
    this.element.addEventListener("click", (event) => event.target === this.element && this.element.close());
  }

  open() {
    this.input.value = "";
    this.draw();
    this.element.showModal();
    this.input.focus();
  }

  draw() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.found = this.entries().filter(({ label, hint }) => words.every((word) => `${label} ${hint}`.toLowerCase().includes(word))).slice(0, MAX_SHOWN);
    if (this.input.value.trim()) this.found.push({ label: `Search mail for “${this.input.value.trim()}”`, hint: "search", run: () => this.onSearch(this.input.value.trim()) });
    this.chosen = 0;
    replace(this.list, this.found.map((entry, index) => h("li", { role: "option", id: `palette-${index}`, on: { click: () => this.run(index) } }, h("span", { text: entry.label }), h("span", { class: "dim", text: entry.hint }))));
    this.mark();
  }

  mark() {
    [...this.list.children].forEach((child, index) => child.setAttribute("aria-selected", String(index === this.chosen)));
    this.input.setAttribute("aria-activedescendant", `palette-${this.chosen}`);
  }

  onKey(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      this.chosen = (this.chosen + step + this.found.length) % Math.max(1, this.found.length);
      this.mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.run(this.chosen);
    }
  }

  run(index) {
    this.element.close();
    this.found[index]?.run();
  }
}

export function helpDialog(keys) {
  const toggle = h("input", { type: "checkbox", id: "keys-on", on: { change: () => keys.toggle() } });
  toggle.checked = keys.isOn;
  const dialog = h(
    "dialog",
    { class: "help", "aria-label": "Keys" },
    h("h2", { text: "Keys" }),
    h("dl", {}, HELP.map(([key, text]) => [h("dt", {}, h("kbd", { text: key })), h("dd", { text })])),
    h("p", {}, toggle, " ", h("label", { for: "keys-on", text: "single keys work outside of fields" })),
    button("Close", () => dialog.close()),
  );
  return dialog;
}
