// Tells the daemon which of the operator's messages were shown: those that were in sight for a second, in a tab that is
// visible and has the focus. A dashboard that nobody looks at offers nothing.

import * as calls from "./calls.js";
import { deliveryOf, mayAct, state } from "./store.js";

const SIGHT_MS = 1000;
const CHECK_MS = 250;
const since = new Map();
const told = new Set();
const inSight = new Set();

const observer = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) inSight.add(target);
    else inSight.delete(target);
  }
});
const observed = new WeakSet();

export function start() {
  setInterval(check, CHECK_MS);
}

function check() {
  if (!mayAct() || document.visibilityState !== "visible" || !document.hasFocus()) return since.clear();
  for (const element of document.querySelectorAll("[data-own]")) {
    if (observed.has(element)) continue;
    observed.add(element);
    observer.observe(element);
  }
  const seen = new Set();
  for (const element of inSight) {
    if (!element.isConnected) inSight.delete(element);
    else if (element.dataset.own) seen.add(element.dataset.own);
  }
  const now = performance.now();
  for (const id of since.keys()) if (!seen.has(id)) since.delete(id);
  for (const id of seen) if (!told.has(id) && !since.has(id)) since.set(id, now);
  const due = [...since].filter(([, at]) => now - at >= SIGHT_MS).map(([id]) => id);
  if (due.length) tell(due);
}

async function tell(ids) {
  ids.forEach((id) => (told.add(id), since.delete(id)));
  const open = ids.filter((id) => {
    const message = state.situation.mine.find((each) => each.id === id);
    return !message || ["stored", "filed"].includes(deliveryOf(message));
  });
  if (!open.length) return;
  try {
    await calls.post("offered", { ids: open });
  } catch {
    open.forEach((id) => told.delete(id)); // the next second tries again
  }
}
