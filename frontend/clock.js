const OLDEST_MS = 2_000; // how old a Date header may be

/**
 * The server's time, learned from the Date header of its answers.
 *
 * A Date header is cut to whole seconds, and servers write the same one for up to a second, so one
 * answer only bounds the offset; the bounds narrow with every answer. While they include 0, the
 * device's own clock counts as right.
 */
export class ServerClock {
  #low = -Infinity;
  #high = Infinity;

  /**
   * Learn from one answer: its Date header, when it was requested and when it came, in ms.
   * @param {string | null} date
   * @param {number} sentAt
   * @param {number} gotAt
   */
  learn(date, sentAt, gotAt) {
    const stamp = Date.parse(date ?? "");
    if (!Number.isFinite(stamp)) return;
    const low = stamp - gotAt;
    const high = stamp + OLDEST_MS - sentAt;
    this.#low = Math.max(this.#low, low);
    this.#high = Math.min(this.#high, high);
    if (this.#low > this.#high) [this.#low, this.#high] = [low, high]; // a clock was set
  }

  /** The server's time now, ms since 1970. */
  now() {
    return Date.now() + this.#offset;
  }

  get #offset() {
    if (this.#low <= 0 && this.#high >= 0) return 0;
    return (this.#low + this.#high) / 2;
  }
}

/**
 * Write seconds as m:ss, or h:mm:ss from an hour on.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}
