// The fields of the compose panel, each with its label.

import { h } from "./dom.js";

export function select(label, choices, onChange) {
  const id = `compose-${label.toLowerCase().replaceAll(" ", "-")}`;
  const element = h("select", { id, on: { change: onChange } }, choices.map(([value, text]) => h("option", { value, text })));
  return h("span", {}, h("label", { for: id, class: "sr", text: label }), element);
}

export function field(label, input) {
  return h("p", { class: "field" }, h("label", { for: input.id, text: label }), input);
}
