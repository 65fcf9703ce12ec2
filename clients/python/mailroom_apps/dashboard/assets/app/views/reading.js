// One message or one thread alone, as a link leads to it.

import { h } from "../dom.js";
import { Pane } from "../pane.js";

export class ReadingView {
  constructor(kind, context) {
    this.kind = kind;
    this.pane = new Pane({ onReply: context.onReply, onAgain: context.onAgain, onClose: () => history.back() });
    this.element = h("div", { class: "mailbox reading alone" }, h("h1", { class: "sr", text: kind === "t" ? "Thread" : "Message" }), this.pane.element);
  }

  destroy() {
    this.pane.destroy();
  }

  show(route) {
    if (this.kind === "t") this.pane.showThread(route.name);
    else this.pane.showMessage(route.name);
  }

  message() {
    return this.pane.chosen();
  }

  keys() {
    return { m: () => this.pane.toggleRaw(), "[": () => this.pane.step(-1), "]": () => this.pane.step(1), Escape: () => history.back() };
  }
}
