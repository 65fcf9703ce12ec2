// Copies text, also where the page is not a secure context, and says whether it worked.

import { h } from "./dom.js";
import { announce } from "./announce.js";

export async function copy(text, what) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    done = copyBySelection(text);
  }
  announce(done ? `${what} copied` : `the browser did not allow copying; select the text and copy it by hand`);
}

function copyBySelection(text) {
  const field = h("textarea", { class: "sr", "aria-hidden": "true" });
  field.value = text;
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
