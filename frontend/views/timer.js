import { formatDuration } from "../clock.js";
import { el } from "../dom.js";

/**
 * @import { ServerClock } from "../clock.js"
 * @import { Attributes } from "../dom.js"
 */

/** Counts every whole second since a moment of the server's clock. */
export class Timer {
  #clock;
  /** @type {string | null} */
  #startedAt = null;
  /** @type {number | undefined} */
  #next;

  /**
   * @param {ServerClock} clock
   * @param {Attributes} [about]
   */
  constructor(clock, { testid, ...attributes } = {}) {
    this.#clock = clock;
    this.element = el("time", { testid, role: "timer", "aria-live": "off", ...attributes }, "0:00");
  }

  /**
   * Count from this RFC 3339 time on, or show 0:00 for null.
   * @param {string | null} startedAt
   */
  set(startedAt) {
    if (startedAt === this.#startedAt) return;
    this.#startedAt = startedAt;
    this.#tick();
  }

  close() {
    clearTimeout(this.#next);
  }

  #tick() {
    clearTimeout(this.#next);
    const elapsed = this.#startedAt ? this.#clock.now() - Date.parse(this.#startedAt) : 0;
    const text = formatDuration(elapsed / 1000);
    if (text !== this.element.textContent) this.element.textContent = text;
    if (!this.#startedAt) return;
    const untilNext = 1000 - (((elapsed % 1000) + 1000) % 1000);
    this.#next = setTimeout(() => this.#tick(), untilNext + 5); // a timeout may come early
  }
}
