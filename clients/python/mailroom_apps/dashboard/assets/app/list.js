// A list of any length, newest first by its keys; only its visible rows are elements. Rows have one height: the day that a row
// begins is named in its first line. What arrives while the reader is below the top, or has the focus in the list, waits
// behind a button, so nothing moves under a hand or an eye.

import { button, h, setText } from "./dom.js";
import { dayOf } from "./times.js";

const MARGIN_ROWS = 6;

export class List {
  // options: `label`, `row(item)` → the lines of a row, `href(item)`, `empty()`, `onEnd()` called when the end comes into sight,
  // `picking` (a Picking) and `canPick(item)`. Items have `id` and `at`.
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
    this.picking = options.picking || null;
    if (this.picking) this.picking.onChange = () => this.draw();
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
    if (this.isDisturbed()) this.waiting = merge(items, this.waiting);
    else this.items = merge(items, this.items);
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
    this.items = merge(this.waiting, this.items);
    this.waiting = [];
    this.scroller.scrollTop = 0;
    this.draw();
    this.focus(0);
  }

  move(step) {
    const index = this.items.findIndex((item) => item.id === this.current);
    this.focus(Math.max(0, Math.min(this.items.length - 1, index + step)));
  }

  focus(index) {
    const item = this.items[index];
    if (!item) return;
    this.current = item.id;
    const height = this.rowHeight();
    const { scrollTop, clientHeight } = this.scroller;
    if (index * height < scrollTop) this.scroller.scrollTop = index * height;
    else if ((index + 1) * height > scrollTop + clientHeight) this.scroller.scrollTop = (index + 1) * height - clientHeight;
    this.draw();
    this.rows.get(this.current)?.link.focus({ preventScroll: true });
  }

  currentItem() {
    return this.items.find((item) => item.id === this.current) || null;
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
    this.element.classList.toggle("picking", Boolean(this.picking?.isOn));
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
      const index = this.items.findIndex((item) => item.id === focused.dataset.key);
      if (index >= 0 && index < first) wanted.unshift([index, this.items[index]]);
      if (index >= last) wanted.push([index, this.items[index]]);
    }
    return wanted;
  }

  place(wanted, height) {
    const keys = new Set(wanted.map(([, item]) => item.id));
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
    const key = item.id;
    const day = this.dayBegunBy(index);
    let row = this.rows.get(key);
    if (!row || row.item !== item || row.day !== day) {
      const lines = this.options.row(item);
      if (day) lines[0].prepend(h("span", { class: "day", text: day }));
      if (row) row.link.replaceChildren(...lines); // the link keeps the focus
      else row = this.newRow(key, item, lines);
      Object.assign(row, { item, day });
      row.element.classList.toggle("new-day", Boolean(day));
      this.rows.set(key, row);
    }
    row.element.style.transform = `translateY(${index * height}px)`;
    row.element.setAttribute("aria-setsize", this.items.length);
    row.element.setAttribute("aria-posinset", index + 1);
    row.link.setAttribute("href", this.options.href(item)); // the rest of the address may differ
    return row.element;
  }

  newRow(key, item, lines) {
    const link = h("a", { href: this.options.href(item), class: "row", tabindex: -1 }, lines);
    const box = this.picking && this.options.canPick(item) ? this.box(key) : null;
    return { link, box, element: h("div", { role: "listitem", class: "item", data: { key } }, box, link) };
  }

  box(key) {
    const click = (event) => this.picking.toggle(key, { extends: event.shiftKey });
    return h("input", { type: "checkbox", class: "box", tabindex: -1, "aria-label": "select this message", on: { click } });
  }

  // The day with which a row begins, if the row before it is of another one.
  dayBegunBy(index) {
    const day = dayOf(this.items[index].at);
    return day && (index === 0 || dayOf(this.items[index - 1].at) !== day) ? day : "";
  }

  // Picks the row that has the focus, or lets it go.
  pick(options) {
    const item = this.currentItem();
    if (item && this.options.canPick(item)) this.picking.toggle(item.id, options);
  }

  markCurrent() {
    const keys = [...this.inner.children].map((element) => element.dataset.key);
    const current = keys.includes(this.current) ? this.current : keys[0];
    for (const [key, { element, link, box }] of this.rows) {
      link.tabIndex = key === current ? 0 : -1;
      element.classList.toggle("selected", key === this.selected);
      const isPicked = Boolean(this.picking?.keys.has(key));
      element.classList.toggle("picked", isPicked);
      if (!box) continue;
      box.tabIndex = this.picking.isOn ? link.tabIndex : -1;
      box.checked = isPicked;
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

// Merges two lists that are sorted, newest first, as every list of messages is.
export function merge(some, others) {
  if (!some.length || !others.length) return some.length ? some : others;
  if (some.at(-1).id > others[0].id) return [...some, ...others];
  const merged = [];
  let [i, j] = [0, 0];
  while (i < some.length && j < others.length) merged.push(some[i].id > others[j].id ? some[i++] : others[j++]);
  return [...merged, ...some.slice(i), ...others.slice(j)];
}
