// A hint for a name that nobody has: the known agent whose name is nearest.

import { state } from "./store.js";

export function near(name) {
  const found = state.situation.agents.find((agent) => agent.known && distance(agent.name, name) <= 2);
  return found ? `; did you mean ${found.name}?` : "";
}

function distance(a, b) {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}
