// Addresses within the page: `#/feed?from=bob&id=1a20…`. They are in the fragment, which no server sees or logs.

export function parse(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/");
  return { view: view || "now", name: decode(rest.join("/")), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function href(view, name = "", query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const end = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${view === "now" ? "" : view}${name ? `/${encodeURIComponent(name)}` : ""}${end}`;
}

export function go(target) {
  if (location.hash === target) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = target;
}

export function change(query, { replaces = false } = {}) {
  const route = parse();
  const target = href(route.view, route.name, { ...route.query, ...query });
  if (replaces) {
    history.replaceState(null, "", target);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else go(target);
}
