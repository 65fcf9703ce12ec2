// A list of any length; only its visible rows are elements. Rows have one height. What arrives while the reader is
// below the top, or has the focus in the list, waits behind a button, so nothing moves under a hand or an eye.

import { button, h, setText } from "./dom.js";

const MARGIN_ROWS = 6;

export class List {
  // options: `label`, `key(item)`, `row(item)` → an element with a link as its first child, `href(item)`, `empty` (elements),
  // `onEnd()` called when the end comes into sight.
  constructor(options) {
    this.options = options;
    this.items = [];
    this.waiting = [];
    this.rows = new Map();
    this.current = null;
    this.paused = false;
    this.pill = button("", () => this.showWaiting(), { class: "pill", hidden: true });
    this.inner = h("div", { class: "rows", role: "list", "aria-label": options.label });
    this.scroller = h("div", { class: "scroller", on: { scroll: () => this.schedule() } }, this.inner);
    this.note = h("div", { class: "note" });
    this.element = h("div", { class: "list" }, this.pill, this.scroller, this.note);
    this.scroller.addEventListener("focusin", (event) => this.onFocus(event));
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.scroller);
  }

  destroy() {
    this.observer.disconnect();
  }

  set(items) {
    this.items = items;
    this.waiting = [];
    this.draw();
  }

  // Adds newer items in front.
  add(items) {
    if (this.isDisturbed()) this.waiting = [...items, ...this.waiting];
    else this.items = [...items, ...this.items];
    this.draw();
  }

  // Adds older items at the end.
  extend(items) {
    this.items = [...this.items, ...items];
    this.draw();
  }

  update(change) {
    this.items = this.items.map(change);
    this.waiting = this.waiting.map(change);
    this.draw();
  }

  trim(max) {
    if (this.items.length > max) this.items.length = max;
  }

  isDisturbed() {
    return this.paused || this.scroller.scrollTop > 4 || this.scroller.contains(document.activeElement);
  }

  showWaiting() {
    this.items = [...this.waiting, ...this.items];
    this.waiting = [];
    this.scroller.scrollTop = 0;
    this.draw();
    this.focus(0);
  }

  move(step) {
    const index = this.items.findIndex((item) => this.options.key(item) === this.current);
    this.focus(Math.max(0, Math.min(this.items.length - 1, index + step)));
  }

  focus(index) {
    const item = this.items[index];
    if (!item) return;
    this.current = this.options.key(item);
    const height = this.rowHeight();
    const { scrollTop, clientHeight } = this.scroller;
    if (index * height < scrollTop) this.scroller.scrollTop = index * height;
    else if ((index + 1) * height > scrollTop + clientHeight) this.scroller.scrollTop = (index + 1) * height - clientHeight;
    this.draw();
    this.rows.get(this.current)?.element.querySelector("a")?.focus({ preventScroll: true });
  }

  currentItem() {
    return this.items.find((item) => this.options.key(item) === this.current) || null;
  }

  onFocus(event) {
    const key = event.target.closest("[data-key]")?.dataset.key;
    if (key && key !== this.current) {
      this.current = key;
      this.markCurrent();
    }
  }

  rowHeight() {
    return parseFloat(getComputedStyle(this.inner).getPropertyValue("--row")) || 48;
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.draw();
    });
  }

  draw() {
    const height = this.rowHeight();
    const total = this.items.length;
    this.inner.style.height = `${total * height}px`;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - MARGIN_ROWS);
    const last = Math.min(total, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / height) + MARGIN_ROWS);
    this.place(this.wanted(first, last), height);
    this.drawRest(total, last);
  }

  wanted(first, last) {
    const wanted = [];
    for (let index = first; index < last; index++) wanted.push([index, this.items[index]]);
    const focused = document.activeElement?.closest?.("[data-key]");
    if (focused && this.inner.contains(focused)) { // its row stays, wherever it is
      const index = this.items.findIndex((item) => this.options.key(item) === focused.dataset.key);
      if (index >= 0 && index < first) wanted.unshift([index, this.items[index]]);
      if (index >= last) wanted.push([index, this.items[index]]);
    }
    return wanted;
  }

  place(wanted, height) {
    const keys = new Set(wanted.map(([, item]) => this.options.key(item)));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    let cursor = this.inner.firstChild;
    for (const [index, item] of wanted) {
      const element = this.row(item, index, height);
      if (element === cursor) cursor = cursor.nextSibling;
      else this.inner.insertBefore(element, cursor);
    }
    this.markCurrent();
  }

  row(item, index, height) {
    const key = this.options.key(item);
    let row = this.rows.get(key);
    if (!row || row.item !== item) {
      const link = h("a", { href: this.options.href(item), class: "row", tabindex: -1 }, this.options.row(item));
      if (row) this.exchange(row, link);
      else row = { element: h("div", { role: "listitem", class: "item", data: { key } }, link) };
      row.item = item;
      this.rows.set(key, row);
    }
    row.element.style.transform = `translateY(${index * height}px)`;
    row.element.setAttribute("aria-setsize", this.items.length);
    row.element.setAttribute("aria-posinset", index + 1);
    row.element.querySelector("a").setAttribute("href", this.options.href(item)); // the rest of the address may differ
    return row.element;
  }

  // Only the inside of the link changes: the link keeps the focus.
  exchange(row, link) {
    row.element.firstChild.replaceChildren(...link.childNodes);
  }

  markCurrent() {
    const shown = [...this.inner.children];
    const current = shown.find((element) => element.dataset.key === this.current) || shown[0];
    for (const element of shown) {
      element.firstChild.tabIndex = element === current ? 0 : -1;
      element.classList.toggle("selected", element.dataset.key === this.selected);
    }
  }

  select(key) {
    this.selected = key || null;
    this.markCurrent();
  }

  drawRest(total, last) {
    this.pill.hidden = this.waiting.length === 0;
    setText(this.pill, `${this.waiting.length} new ↑`);
    const isEmpty = total === 0;
    this.scroller.hidden = isEmpty;
    if (this.note.hidden === isEmpty) this.note.hidden = !isEmpty;
    const text = isEmpty ? this.options.empty?.() ?? "nothing here" : "";
    setText(this.note, text);
    if (!isEmpty && last >= total) this.options.onEnd?.();
  }
}
