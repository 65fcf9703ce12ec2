/**
 * Cursor — the place of a subscription, from which it is resumed without gaps and without repeats.
 *
 * Pure. Places are event ids, which sort in delivery order. A replay of unread messages cannot be resumed by a place, because
 * a later message may have been read already. Until that replay is over, the cursor remembers the ids that were yielded,
 * and the replay is requested again.
 * Invariant: the place moves when an event is admitted, that is, right before it is yielded.
 */

/** The place before every event. */
export const BEGINNING = '0'.repeat(16);

/** Where a subscription starts. */
export interface Start {
  after?: string | undefined;
  unread?: boolean | undefined;
}

/** The place of one subscription. */
export class Cursor {
  #after: string | undefined;
  #unread: boolean;
  readonly #yielded = new Set<string>();

  constructor(start: Start = {}) {
    this.#after = start.after;
    this.#unread = start.unread ?? false;
  }

  /** Resume after this event; undefined: start with what comes next. */
  get after(): string | undefined {
    return this.#after;
  }

  /** Whether the next request asks for the unread messages. */
  get unread(): boolean {
    return this.#unread;
  }

  /** Moves to an event; returns whether it is new. */
  admit(eventId: string): boolean {
    if (this.#unread) {
      const isNew = !this.#yielded.has(eventId);
      this.#yielded.add(eventId);
      return isNew;
    }
    if (this.#after !== undefined && eventId <= this.#after) return false;
    this.#after = eventId;
    return true;
  }

  /** Moves to the end of the replay, even backwards: an `after` that the daemon never issued has no effect. */
  recordCaughtUp(lastId: string): void {
    this.#after = [lastId, ...this.#yielded].reduce((latest, id) => (id > latest ? id : latest), BEGINNING);
    this.#unread = false;
    this.#yielded.clear();
  }

  /** Moves to the place from which the stopping daemon wants to be resumed. */
  recordGoingAway(lastId: string): void {
    if (!this.#unread && lastId > (this.#after ?? '')) this.#after = lastId;
  }
}
