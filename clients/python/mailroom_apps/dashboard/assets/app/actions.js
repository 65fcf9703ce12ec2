// What is done to messages: acknowledging them, for oneself or in an agent's place, and copying a link.

import { announce } from "./announce.js";
import * as calls from "./calls.js";
import { copy } from "./clipboard.js";
import { href } from "./router.js";

const MAX_IDS = 1000; // of one request

// Acknowledges mail to the operator; true if all of it is.
export function acknowledge(messages) {
  return inPortions(messages, (ids) => calls.post("acknowledge", { ids }), "acknowledged");
}

// The same for an agent, whose name has to be typed.
export async function acknowledgeFor(agent, messages) {
  const typed = prompt(`Only ${agent} should mark its mail read. To do it anyway, type the agent's name:`);
  if (typed === null) return false;
  return inPortions(messages, (ids) => calls.post("manage/acknowledge", { agent, typed, ids }), `acknowledged for ${agent}`);
}

async function inPortions(messages, send, done) {
  let count = 0;
  try {
    for (let start = 0; start < messages.length; start += MAX_IDS) {
      const { acknowledged_ids: ids } = await send(messages.slice(start, start + MAX_IDS).map((message) => message.id));
      count += ids.length;
    }
  } catch (error) {
    announce(`${count ? `${count} ${done}; the rest is ` : ""}not acknowledged: ${error.message}`);
    return false;
  }
  announce(messages.length === 1 && count === 1 ? done : `${count} ${done}`);
  return true;
}

export function copyLink(message) {
  return copy(`${location.origin}${location.pathname}${href("id", message.id)}`, "link");
}
