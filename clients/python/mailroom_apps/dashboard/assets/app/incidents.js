// What happened to the daemon itself, as lines among the mail. Their ids sort among those of messages by the time.

import { h } from "./dom.js";
import { merge } from "./list.js";
import { href } from "./router.js";
import { state } from "./store.js";
import { clock, full } from "./times.js";

export function isIncident(item) {
  return Boolean(item.sentence);
}

export function incidentHref({ view }) {
  return view === "who" ? href("who", "", { h: "0.25" }) : href(view);
}

export function incidentRow({ at, sentence, view }) {
  return [
    h("span", { class: "line incident" }, h("span", { "aria-hidden": "true", text: "⟳" }), h("span", { class: "sentence", title: sentence, text: sentence }), h("time", { datetime: at, title: full(at), text: clock(at) })),
    h("span", { class: "line dim" }, h("span", { class: "preview", text: view === "who" ? "Who talks to whom shows the pair." : "Health tells more." })),
  ];
}

// Returns messages with the incidents of their time; they reach from `newest` (an id, or "") back to the last message, or to
// the beginning if there are no older ones.
export function among(messages, { newest = "", isWhole = true } = {}) {
  const oldest = isWhole || !messages.length ? "" : messages.at(-1).id;
  return merge(state.situation.incidents.filter(({ id }) => id > oldest && (!newest || id < newest)), messages);
}
