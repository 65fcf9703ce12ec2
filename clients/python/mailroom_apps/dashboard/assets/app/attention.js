// Attention: the number in title and icon, and notifications. One tab leads: it keeps its connection while it is hidden, and
// notifies for all tabs of this browser.

import * as storage from "./storage.js";
import { on, state } from "./store.js";
import { visible } from "./dom.js";
import { href } from "./router.js";

const BURST_MS = 10_000;
const BURST = 3;
const DOWN_MS = 10_000; // after which it is worth a notification
let isLeader = false;
let recent = [];

export function leads() {
  return isLeader;
}

export function isEnabled() {
  return "Notification" in globalThis && Notification.permission === "granted" && storage.read("notifications", false);
}

// Asks the browser for permission; only ever called by a click.
export async function toggle() {
  if (!("Notification" in globalThis)) return "this browser has no notifications";
  if (isEnabled()) {
    storage.write("notifications", false);
    return "notifications are off";
  }
  if ((await Notification.requestPermission()) !== "granted") return "the browser does not allow notifications; the number in the title remains";
  storage.write("notifications", true);
  return "notifications are on";
}

export function start() {
  navigator.locks?.request(`mailroom-leader-${location.pathname}`, () => {
    isLeader = true;
    return new Promise(() => {}); // until the tab is closed
  });
  on("situation", () => showCount(state.situation.mine.length + (state.situation.more_mine ? 1 : 0)));
  on("mail", (messages) => messages.filter((message) => message.to === state.about.operator && message.from !== message.to).forEach(notifyOfMail));
  let stuckBefore = null;
  on("situation", () => {
    const stuck = new Set(state.situation.stuck.map((each) => each.agent));
    if (stuckBefore && state.situation.loaded) for (const each of state.situation.stuck) if (!stuckBefore.has(each.agent)) notify(`stuck-${each.agent}`, `${each.agent} is stuck`, each.sentence, href("m", each.agent, { state: "unread" }));
    if (state.situation.loaded) stuckBefore = stuck;
  });
  let downTimer = null;
  on("daemon", () => {
    if (state.daemon.live) {
      clearTimeout(downTimer);
      downTimer = null;
    } else downTimer ??= setTimeout(() => notify("daemon", "The Mailroom daemon does not answer", state.daemon.sentence, href("health")), DOWN_MS);
  });
}

function notifyOfMail(message) {
  notify(message.id, `${message.from} wrote to you`, message.preview.slice(0, 120), href("mine", "", { id: message.id }));
}

function notify(tag, title, body, target) {
  if (!isLeader || !isEnabled() || document.visibilityState === "visible") return;
  const at = Date.now();
  recent = [...recent.filter((time) => at - time < BURST_MS), at];
  const isBurst = recent.length > BURST;
  const shown = isBurst ? ["burst", "Several things need you", "Open the dashboard to see them.", "#/"] : [tag, title, body, target];
  const notification = new Notification(visible(shown[1]), { tag: shown[0], body: visible(shown[2]), icon: "icon.svg" });
  notification.onclick = () => {
    focus();
    location.hash = shown[3];
    notification.close();
  };
}

let shownCount = -1;

function showCount(count) {
  if (count === shownCount) return;
  shownCount = count;
  document.title = count ? `(${count}) Mailroom` : "Mailroom";
  const dot = count ? `<circle cx="24" cy="8" r="8" fill="#d4351c"/><text x="24" y="12" font-size="11" text-anchor="middle" fill="#fff" font-family="sans-serif">${count > 9 ? "9+" : count}</text>` : "";
  const image = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2454b8"/><path d="M6 10h20v13H6z" fill="none" stroke="#fff" stroke-width="2"/>${dot}</svg>`;
  document.getElementById("icon").setAttribute("href", `data:image/svg+xml,${encodeURIComponent(image)}`);
}
