// The page: connects stream, state, views and keys. A view is made when its address is opened, and told of every change of
// the address after that.

import { acknowledge, copyLink } from "./actions.js";
import { announce, element as toast } from "./announce.js";
import * as attention from "./attention.js";
import * as calls from "./calls.js";
import { copy } from "./clipboard.js";
import { Compose } from "./compose.js";
import { Palette, helpDialog } from "./dialogs.js";
import { replace } from "./dom.js";
import { Frame } from "./frame.js";
import { Keys } from "./keys.js";
import * as offered from "./offered.js";
import { go, href, parse } from "./router.js";
import { deliveryOf, on, recordState, state, tell } from "./store.js";
import { Stream } from "./stream.js";
import { applyTheme, nextTheme } from "./theme.js";
import * as times from "./times.js";
import { AgentsView } from "./views/agents.js";
import { AuditView } from "./views/audit.js";
import { HealthView } from "./views/health.js";
import { MailboxView } from "./views/mailbox.js";
import { NowView } from "./views/now.js";
import { ReadingView } from "./views/reading.js";
import { WhoView } from "./views/who.js";

const SITUATION_MS = 5000; // at least so often; after an event, sooner
const HIDDEN_MS = 30_000; // the same for a hidden page that notifies
const SETTLE_MS = 400;
const VIEWS = {
  now: (context) => new NowView(context),
  agents: (context) => new AgentsView(context),
  mine: (context) => new MailboxView("mine", context),
  m: (context) => new MailboxView("m", context),
  feed: (context) => new MailboxView("feed", context),
  search: (context) => new MailboxView("search", context),
  t: (context) => new ReadingView("t", context),
  id: (context) => new ReadingView("id", context),
  who: () => new WhoView(),
  health: () => new HealthView(),
  audit: () => new AuditView(),
};

class Page {
  constructor() {
    applyTheme();
    this.compose = new Compose();
    this.palette = new Palette(() => this.commands());
    this.palette.onSearch = (words) => go(href("search", "", { q: words }));
    this.keys = new Keys((key) => this.handlerOf(key), { palette: () => this.palette.open() });
    this.help = helpDialog(this.keys);
    this.frame = new Frame({ palette: () => this.palette.open(), help: () => this.help.showModal(), theme: () => announce(`theme: ${nextTheme()}`), times: () => this.nextTimes(), notifications: async () => announce(await attention.toggle()) });
    this.frame.mount(this.compose.element, toast, this.palette.element, this.help);
    this.context = { onReply: (message, acknowledges) => this.compose.opening(() => this.compose.reply(message, acknowledges)), onAgain: (message) => this.compose.opening(() => this.compose.again(message)), onWrite: (agent) => this.compose.writeTo(agent), announce };
    this.stream = new Stream({
      onEvent: (id, data) => this.onEvent(id, data),
      onStatus: (data) => this.onStatus(data),
      onReset: () => this.onReset(),
      onConnection: (name, sentence) => this.onConnection(name, sentence),
    });
    this.stream.staysHidden = attention.leads;
    calls.setSessionLostHandler((body) => this.signOut(body.message));
    addEventListener("hashchange", () => this.onAddress());
  }

  async start() {
    try {
      await calls.openSession();
    } catch (error) {
      announce(error.message);
      this.linkError = error.message;
    }
    await this.connect();
  }

  async connect() {
    try {
      const about = await calls.get("hello");
      state.about = about;
      this.onStatus(about);
      tell("about");
      this.isSignedIn = true;
      this.stream.start(about.position);
      this.route();
      this.refresh();
      attention.start();
      offered.start();
      setInterval(() => this.refreshIfDue(), SITUATION_MS);
    } catch (error) {
      if (error.status === 401) return;
      this.onConnection("lost", error.message);
      setTimeout(() => this.connect(), 2000);
    }
  }

  // -- what arrives -------------------------------------------------------------------------------------------------

  onEvent(id, event) {
    if (event.kind === "mail") {
      recordState(event.id, event.state);
      tell("mail", event);
    } else if (event.kind === "receipt") {
      if (event.state !== "overdue") recordState(event.id, event.state);
      tell("receipt", event);
    }
    this.refreshSoon();
  }

  onStatus({ now_ms: nowMs, live, sentence, reason, health, page }) {
    if (nowMs) times.setServerTime(nowMs);
    this.version ??= page;
    state.isOutdated = page !== this.version;
    const wasLive = state.daemon.live;
    state.daemon = { live, sentence, reason, health };
    state.connection.at = Date.now();
    tell("daemon");
    if (live && !wasLive) this.refreshSoon();
  }

  onReset() {
    announce("away for long: the lists were loaded again");
    tell("reset");
    this.refresh();
  }

  onConnection(name, sentence) {
    if (name === "signed-out") return this.signOut(sentence);
    const was = state.connection.state;
    state.connection = { ...state.connection, state: name, sentence, at: name === "live" ? Date.now() : state.connection.at };
    tell("connection");
    tell("situation");
    if (name === "live" && was !== "live") this.refreshSoon();
  }

  signOut(sentence) {
    if (this.isSignedOut) return;
    this.isSignedOut = true;
    this.isSignedIn = false;
    this.stream.stop();
    this.view?.destroy();
    this.view = null;
    this.viewName = null;
    state.connection = { state: "signed-out", sentence: sentence || "", at: 0 };
    tell("connection");
    this.frame.showSignIn(this.linkError || sentence);
  }

  refreshSoon() {
    if (this.refreshTimer) return;
    this.refreshTimer = setTimeout(() => {
      this.refreshTimer = null;
      if (document.visibilityState === "visible" || attention.leads()) this.refresh();
    }, SETTLE_MS);
  }

  // A hidden page that notifies looks less often: mail becomes stuck without any event.
  refreshIfDue() {
    const isVisible = document.visibilityState === "visible";
    if (isVisible || (attention.leads() && Date.now() - this.refreshedAt >= HIDDEN_MS)) this.refresh();
  }

  async refresh() {
    if (this.refreshing || !this.isSignedIn) return;
    this.refreshing = true;
    this.refreshedAt = Date.now();
    try {
      state.situation = { ...(await calls.get("situation")), loaded: true };
      state.situationError = null;
    } catch (error) {
      state.situationError = error;
    } finally {
      this.refreshing = false;
    }
    tell("situation");
  }

  // -- where the reader is ------------------------------------------------------------------------------------------

  onAddress() {
    if (/^#k=/.test(location.hash)) return location.reload(); // a link was opened in this tab
    if (this.isSignedIn) this.route();
  }

  route() {
    const route = parse();
    const make = VIEWS[route.view] || VIEWS.now;
    const name = ["m", "t", "id"].includes(route.view) ? `${route.view}/${route.name}` : route.view;
    if (name !== this.viewName) {
      this.view?.destroy();
      this.viewName = name;
      this.view = make(this.context);
      replace(this.frame.main, this.view.element);
    }
    this.frame.mark(route.view);
    this.view.show(route);
  }

  nextTimes() {
    announce(`times: ${{ local: "local", utc: "UTC", age: "age" }[times.nextMode()]}`);
    tell("times");
  }

  // -- keys and commands --------------------------------------------------------------------------------------------

  handlerOf(key) {
    if (this.compose.isOpening) return () => {}; // meant for the panel, which has no focus yet
    const message = () => this.view?.message?.() || null;
    const picked = () => (this.view?.picking?.keys.size ? this.view.picking : null);
    const common = {
      c: () => this.compose.open(),
      r: () => message() && this.context.onReply(message(), false),
      R: () => message() && this.context.onReply(message(), true),
      s: () => this.sendAgain(),
      e: () => (picked() ? picked().acknowledgeOwn() : this.acknowledgeOwn(message())),
      y: () => message() && copyLink(message()),
      Y: () => (picked() ? picked().copyIds() : message() && copy(message().id, "id")),
      "/": () => go(href("search")),
      ">": () => this.palette.open(),
      "?": () => this.help.showModal(),
      z: () => this.nextTimes(),
      t: () => announce(`theme: ${nextTheme()}`),
      "g n": () => go(href("now")),
      "g m": () => go(href("mine")),
      "g a": () => go(href("agents")),
      "g f": () => go(href("feed")),
      "g w": () => go(href("who")),
      "g h": () => go(href("health")),
    };
    return this.view?.keys?.()[key] || common[key];
  }

  // Opens a message that this operator has sent as a new draft. A list has only its beginning, so it is fetched.
  async sendAgain() {
    const message = this.view?.message?.();
    if (!message || message.from !== state.about.operator) return announce("only your own mail can be sent again");
    try {
      await this.compose.opening(async () => this.compose.again(message.content === undefined ? await calls.get("message", { id: message.id }) : message));
    } catch (error) {
      announce(`not opened: ${error.message}`);
    }
  }

  acknowledgeOwn(message) {
    if (!message || message.to !== state.about.operator) return announce("only your own mail can be acknowledged");
    if (deliveryOf(message) !== "read") acknowledge([message]);
  }

  commands() {
    const views = [["Now", "now"], ["Mine", "mine"], ["Agents", "agents"], ["Feed", "feed"], ["Who talks to whom", "who"], ["Health", "health"], ["Audit", "audit"]];
    return [
      ...state.situation.agents.map((agent) => ({ label: agent.name, hint: agent.alive ? "agent, alive" : "mailbox", run: () => go(href("m", agent.name)) })),
      ...views.map(([label, view]) => ({ label, hint: "view", run: () => go(href(view)) })),
      { label: "Write a message", hint: "c", run: () => this.compose.open() },
      { label: "Mail that you sent", hint: "view", run: () => go(href("feed", "", { from: state.about.operator })) },
      ...state.situation.agents.map((agent) => ({ label: `Write to ${agent.name}`, hint: "command", run: () => this.compose.writeTo(agent.name) })),
      { label: "Change times", hint: "z", run: () => this.nextTimes() },
      { label: "Change theme", hint: "t", run: () => announce(`theme: ${nextTheme()}`) },
      { label: "Notifications on or off", hint: "command", run: async () => announce(await attention.toggle()) },
      { label: "Keys", hint: "?", run: () => this.help.showModal() },
      { label: "Sign out of this browser", hint: "command", run: () => this.endSession() },
    ];
  }

  async endSession() {
    await calls.post("session/end", {});
    this.signOut("You have signed out.");
  }
}

on("about", () => (document.body.dataset.role = state.about.role));
new Page().start();
