// Attention: the number in title and icon, and notifications. One tab leads: it keeps its connection while it is hidden, and
// notifies for all tabs of this browser. There is none while a tab is in sight, and no sound.

import * as storage from "./storage.js";
import { isSnoozed, on, state } from "./store.js";
import { visible } from "./dom.js";
import { href } from "./router.js";
import { now } from "./times.js";

const BURST_MS = 10_000;
const BURST = 3;
const DOWN_MS = 10_000; // after which it is worth a notification
const GRACE_MS = 60_000; // after an interruption, in which nobody could read: mail is not called stuck yet
const ASLEEP_MS = 180_000; // without a tick of the clock; a hidden tab has one a minute
const CHOICES = { off: "notifications are off", mine: "notifications: mail to you, stuck mail, daemon down", urgent: "notifications: these, and urgent mail to anyone" };
let isLeader = false;
let recent = [];
let tickedAt = Date.now();
let wokeAt = 0;
let calmUntil = 0;

export function leads() {
  return isLeader;
}

function chosen() {
  const isAllowed = "Notification" in globalThis && Notification.permission === "granted";
  const choice = storage.read("notifications", "off");
  return isAllowed && Object.hasOwn(CHOICES, choice) ? choice : "off";
}

// Goes on to the next choice; asks the browser for permission, so it is only ever called by a click.
export async function toggle() {
  if (!("Notification" in globalThis)) return "this browser has no notifications";
  const names = Object.keys(CHOICES);
  const next = names[(names.indexOf(chosen()) + 1) % names.length];
  if (next !== "off" && (await Notification.requestPermission()) !== "granted") return "the browser does not allow notifications; the number in the title remains";
  storage.write("notifications", next);
  return CHOICES[next];
}

export function start() {
  navigator.locks?.request(`mailroom-leader-${location.pathname}`, () => {
    isLeader = true;
    return new Promise(() => {}); // until the tab is closed
  });
  on("situation", () => showCount(state.situation.mine.length + (state.situation.more_mine ? 1 : 0)));
  on("mail", (messages) => messages.forEach(notifyOfMail));
  on("reset", () => calmDown());
  watchStuck();
  watchDaemon();
  setInterval(tick, 5000);
}

function tick() {
  const at = Date.now();
  if (at - tickedAt > ASLEEP_MS) {
    wokeAt = at;
    calmDown();
  }
  tickedAt = at;
}

function calmDown() {
  calmUntil = Date.now() + GRACE_MS;
}

function watchStuck() {
  let before = null;
  on("situation", () => {
    if (!state.situation.loaded) return;
    const { stuck } = state.situation;
    if (Date.now() < calmUntil) return; // what is stuck then is told when the time is over
    if (before) for (const each of stuck) if (!before.has(each.agent) && !isSnoozed(each.agent, now())) notify(`stuck-${each.agent}`, `${each.agent} is stuck`, each.sentence, href("m", each.agent, { state: "unread" }));
    before = new Set(stuck.map((each) => each.agent));
  });
}

function watchDaemon() {
  let timer = null;
  let wasLive = true;
  on("daemon", () => {
    if (state.daemon.live) {
      clearTimeout(timer);
      timer = null;
      if (!wasLive) calmDown();
    } else timer ??= setTimeout(() => notify("daemon", "The Mailroom daemon does not answer", state.daemon.sentence, href("health")), DOWN_MS);
    wasLive = state.daemon.live;
  });
}

function notifyOfMail(message) {
  if (message.from === state.about.operator) return;
  const body = message.preview.slice(0, 120);
  if (message.to === state.about.operator) notify(message.id, `${message.from} wrote to you`, body, href("mine", "", { id: message.id }));
  else if (message.priority === "urgent" && chosen() === "urgent") notify(message.id, `Urgent: ${message.from} wrote to ${message.to}`, body, href("feed", "", { id: message.id }));
}

function notify(tag, title, body, target) {
  tick();
  if (!isLeader || chosen() === "off" || document.visibilityState === "visible") return;
  const at = Date.now();
  recent = [...recent.filter((time) => at - time < BURST_MS), at];
  const isBurst = recent.length > BURST || at - wokeAt < BURST_MS; // after sleep, everything comes at once
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
