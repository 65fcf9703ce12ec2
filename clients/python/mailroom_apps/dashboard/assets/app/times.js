// Times, in the reader's zone, in UTC, or as an age. One formatter for the whole page; ages go by the server's clock.

import * as storage from "./storage.js";

const MODES = ["local", "utc", "age"];
let mode = storage.read("times", "local");
let skewMs = 0;
const formats = new Map();

export function setServerTime(serverMs) {
  skewMs = serverMs - Date.now();
}

export function skewSec() {
  return Math.round(skewMs / 1000);
}

export function now() {
  return Date.now() + skewMs;
}

export function nextMode() {
  mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
  storage.write("times", mode);
  return mode;
}

export function age(seconds) {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60]]) if (seconds >= length) return `${Math.floor(seconds / length)}${unit}`;
  return `${Math.max(0, Math.floor(seconds))}s`;
}

export function ageOf(iso) {
  return (now() - Date.parse(iso)) / 1000;
}

export function clock(iso) {
  if (!iso) return "";
  if (mode === "age") return age(ageOf(iso));
  const moment = new Date(iso);
  const isToday = Math.abs(now() - moment) < 86_400_000 && format({ day: "numeric" }).format(moment) === format({ day: "numeric" }).format(now());
  return format(isToday ? { hour: "2-digit", minute: "2-digit", second: "2-digit" } : { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(moment);
}

// The day of a moment, for a line in a list; empty for today.
export function dayOf(iso) {
  const name = format({ weekday: "short", day: "numeric", month: "short" });
  const day = name.format(new Date(iso));
  return day === name.format(now()) && now() - Date.parse(iso) < 7 * 86_400_000 ? "" : day;
}

export function full(iso) {
  if (!iso) return "";
  const moment = new Date(iso);
  return `${format({ dateStyle: "medium", timeStyle: "long" }).format(moment)} · ${moment.toISOString()}`;
}

function format(options) {
  const key = mode + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, zoned(options)));
  return formats.get(key);
}

function zoned(options) {
  const zone = mode === "utc" ? { timeZone: "UTC" } : {};
  return options.dateStyle ? { ...zone, ...options } : { hour12: false, ...zone, ...options };
}
