// The live connection: reads the server's events with fetch, resumes after the last one, and gives up a connection that
// is silent. Unlike EventSource it sees status codes, sends the page's token, and never ends for good.

import { attempt, headers } from "./calls.js";

const SILENCE_MS = 12_000; // more than two heartbeats
const SUSPICIOUS_MS = 6_000; // of silence, when the page comes back to life
const HIDDEN_MS = 15_000; // after which a hidden tab gives its connection up
const DELAYS_MS = [250, 500, 1000, 2000, 5000];

export class Stream {
  // handlers: `onEvent(id, data)`, `onStatus(data)`, `onReset(data)`, `onConnection(state, sentence)`.
  constructor(handlers) {
    this.handlers = handlers;
    this.position = null;
    this.staysHidden = () => false; // whether to keep the connection while the tab is hidden
    this.failures = 0;
    this.heardAt = 0;
    this.running = false;
    for (const name of ["online", "pageshow", "resume"]) addEventListener(name, () => this.check());
    document.addEventListener("resume", () => this.check());
    document.addEventListener("visibilitychange", () => this.onVisibility());
    setInterval(() => this.watch(), 1000);
  }

  start(position) {
    this.position = position;
    this.wanted = true;
    this.run();
  }

  stop() {
    this.wanted = false;
    this.abort?.abort();
  }

  // After sleep or a change of network: a connection that looks open may be dead.
  check() {
    if (!this.wanted) return;
    if (performance.now() - this.heardAt > SUSPICIOUS_MS) this.abort?.abort();
    this.wake?.();
    this.run();
  }

  watch() {
    if (this.open && performance.now() - this.heardAt > SILENCE_MS) {
      this.handlers.onConnection("lost", "the dashboard is silent");
      this.abort?.abort();
    }
  }

  onVisibility() {
    clearTimeout(this.hiding);
    if (document.visibilityState === "visible") this.check();
    else this.hiding = setTimeout(() => !this.staysHidden() && this.abort?.abort(), HIDDEN_MS);
  }

  isIdle() {
    return document.visibilityState === "hidden" && this.gaveUp && !this.staysHidden();
  }

  async run() {
    if (this.running) return;
    this.running = true;
    try {
      while (this.wanted) {
        await this.connect();
        this.gaveUp = document.visibilityState === "hidden" && !this.staysHidden();
        if (!this.wanted || this.isIdle()) break;
        await this.pause();
      }
    } finally {
      this.running = false;
    }
  }

  pause() {
    const delay = DELAYS_MS[Math.min(this.failures++, DELAYS_MS.length - 1)] * (0.75 + Math.random() / 2);
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, delay);
    });
  }

  async connect() {
    this.abort = new AbortController();
    const more = this.position ? { "Last-Event-ID": this.position } : {};
    try {
      this.heardAt = performance.now();
      const response = await attempt("api/stream", { headers: headers(more), signal: this.abort.signal });
      if (!response.ok) return this.refuse(response);
      this.open = true;
      await this.read(response.body.getReader());
      this.handlers.onConnection("lost", "the connection to the dashboard has ended");
    } catch (error) {
      this.handlers.onConnection("lost", error.name === "AbortError" ? "reconnecting" : "the dashboard does not answer");
    } finally {
      this.open = false;
    }
  }

  async refuse(response) {
    const body = await response.json().catch(() => ({}));
    if (response.status === 401) {
      this.wanted = false;
      this.handlers.onConnection("signed-out", body.message);
    } else {
      this.handlers.onConnection("lost", body.message || `the dashboard answered with ${response.status}`);
    }
  }

  async read(reader) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.heardAt = performance.now();
      this.failures = 0;
      const frames = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = frames.pop();
      frames.forEach((frame) => this.receive(frame));
    }
  }

  receive(frame) {
    const fields = Object.fromEntries(frame.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
    const data = JSON.parse(fields.data);
    if (fields.event === "event") {
      if (this.position && fields.id <= this.position) return; // seen already
      this.position = fields.id;
      this.handlers.onEvent(fields.id, data);
    } else if (fields.event === "reset") {
      this.position = data.position;
      this.handlers.onReset(data);
    } else {
      this.handlers.onStatus(data);
      if (fields.event === "hello") this.handlers.onConnection("live", "");
    }
  }
}
