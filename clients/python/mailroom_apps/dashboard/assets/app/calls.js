// Calls of the server. Each carries the page's token, which no other origin or port can read.

import * as storage from "./storage.js";

export class CallError extends Error {
  constructor(status, body) {
    super(body.message || `the dashboard answered with ${status}`);
    this.status = status; // 0: no answer at all
    this.reason = body.reason || "";
    this.field = body.field || null;
    this.retryAfterSec = body.retry_after_sec || null;
  }
}

let onSessionLost = () => {};

export function setSessionLostHandler(handler) {
  onSessionLost = handler;
}

export function headers(more = {}) {
  return { "X-Mailroom-Page-Token": storage.read("token", ""), ...more };
}

export async function get(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return answer(await attempt(`api/${path}${query ? `?${query}` : ""}`, { headers: headers(), signal }));
}

export async function getFile(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  const response = await attempt(`api/${path}?${new URLSearchParams(given)}`, { headers: headers() });
  if (!response.ok) await answer(response); // throws
  return response.blob();
}

export async function post(path, body) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) };
  return answer(await attempt(`api/${path}`, options));
}

export async function attempt(path, options) {
  try {
    return await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError(0, { message: "the dashboard does not answer; is it still running?", reason: "DASHBOARD_AWAY" });
  }
}

async function answer(response, onLost = onSessionLost) {
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) onLost(body);
  if (!response.ok) throw new CallError(response.status, body);
  return body;
}

// Uses up the key of a one-time link, which is in the fragment, and takes it out of the address and the history. A bad key
// does not end the session that this browser has: any page can lead here with one.
export async function openSession() {
  const match = /^#k=([A-Za-z0-9_-]+)$/.exec(location.hash);
  if (!match) return;
  history.replaceState(null, "", `${location.pathname}#/`);
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key: match[1] }) };
  const { token } = await answer(await attempt("api/session", options), () => {});
  storage.write("token", token);
}
