// What the browser keeps for this page: its token, drafts, the outbox, choices. Names carry the path of the page, so two
// dashboards behind one host do not share anything.

const PREFIX = `mailroom:${location.pathname}:`;

export function read(name, otherwise = null) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

// Returns whether the value is stored; it is not if the browser's storage is full.
export function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function remove(name) {
  localStorage.removeItem(PREFIX + name);
}

export function names(start) {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(PREFIX + start))
    .map((key) => key.slice(PREFIX.length));
}

export function onChange(start, handler) {
  addEventListener("storage", (event) => {
    if (event.key?.startsWith(PREFIX + start)) handler(event.key.slice(PREFIX.length));
  });
}
