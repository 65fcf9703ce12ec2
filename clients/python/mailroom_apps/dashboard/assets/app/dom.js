// The only module that creates elements. Text of agents becomes text nodes, never HTML, and characters that are invisible
// or reorder a line become visible escapes on the way, as on the command line.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const JOINS_EMOJI = /^[\u200d\ufe0e\ufe0f]$/u;
const ENDS_IN_EMOJI = /(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|[#*0-9]|\ufe0f)$/u;
const SAFE_LINK = /^(?:https?:\/\/|mailto:|#)/i;
const SVG = "http://www.w3.org/2000/svg";

export function visible(text) {
  return String(text).replace(HIDDEN, (char, index, whole) => {
    if (char === "\n" || char === "\t") return char;
    if (JOINS_EMOJI.test(char) && ENDS_IN_EMOJI.test(whole.slice(Math.max(0, index - 3), index))) return char;
    const code = char.codePointAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

// Creates an element. Options: `class`, `text`, `data` (an object), `on` (handlers by event), `href` of a safe link, and
// any other attribute; null, undefined and false leave it out, true sets it empty.
export function h(name, options = {}, ...children) {
  return fill(document.createElement(name), options, children);
}

export function svg(name, options = {}, ...children) {
  return fill(document.createElementNS(SVG, name), options, children);
}

function fill(element, options, children) {
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "text") element.textContent = visible(value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "href") setLink(element, value);
    else if (/^(?:on|style|src)/i.test(name)) throw new Error(`attribute ${name} is not set by h()`);
    else element.setAttribute(name, value === true ? "" : visible(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : visible(child));
  }
}

export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

// Changes text only if it differs: a selection in it survives.
export function setText(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export function setLink(element, target) {
  if (!SAFE_LINK.test(target)) throw new Error("not a safe link");
  element.setAttribute("href", target);
  if (!target.startsWith("#")) {
    element.setAttribute("rel", "noopener noreferrer");
    element.setAttribute("target", "_blank");
  }
}

export function button(label, handler, options = {}) {
  return h("button", { type: "button", ...options, on: { click: handler } }, label);
}

// Lets the reader save a text as a file.
export function download(name, text) {
  downloadBlob(name, new Blob([text], { type: "text/plain" }));
}

export function downloadBlob(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.setAttribute("href", url);
  link.setAttribute("download", name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function hidden(text) {
  return h("span", { class: "sr", text });
}

const ELEMENTS = new Set(
  "a blockquote br code em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul".split(" "),
);

// Creates elements from the server's tree of a message: text, or [name, attributes, children].
export function fromTree(nodes) {
  return nodes.map((node) => {
    if (!Array.isArray(node)) return visible(node);
    const [name, attributes, children] = node;
    if (!ELEMENTS.has(name)) return visible(children.join(""));
    const heading = /^h[1-6]$/.test(name);
    const element = h(heading ? "div" : name, heading ? { class: `heading ${name}` } : {});
    append(element, fromTree(children));
    if (name === "a" && attributes.href && /^(?:https?:|mailto:)/i.test(attributes.href)) {
      setLink(element, attributes.href);
      if (element.textContent !== visible(attributes.href)) append(element, [h("span", { class: "target", text: ` (${attributes.href})` })]);
    }
    if (name === "ol" && Number.isInteger(attributes.start)) element.setAttribute("start", attributes.start);
    if (name === "pre" || name === "table") element.setAttribute("tabindex", "0"); // scrolls sideways
    return element;
  });
}
