// Short notes: shown for some seconds, and spoken by screen readers, one at a time.

import { h, setText } from "./dom.js";

const SHOWN_MS = 5000;
export const element = h("div", { class: "toast", role: "status", "aria-live": "polite" });
let timer;

export function announce(text) {
  setText(element, text);
  element.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => {
    element.classList.remove("shown");
    setText(element, "");
  }, SHOWN_MS);
}
