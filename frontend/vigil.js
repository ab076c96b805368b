const TICK_MS = 1_000;

/**
 * Notices that the device slept, by the wall clock: no timer ran for longer than `patience_ms`.
 * Calls `onTick` every second, and `onWake` instead after such a sleep.
 */
export class Vigil {
  #patience;
  #calls;
  #tickedAt = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  #slept = false;

  /**
   * @param {number} patience_ms
   * @param {{ onTick: () => void, onWake: () => void }} calls
   */
  constructor(patience_ms, calls) {
    this.#patience = patience_ms;
    this.#calls = calls;
  }

  /** Whether it slept since `start()` or `forget()`, noticed by a timer yet or not. */
  get slept() {
    return this.#slept || (this.#ticking !== undefined && Date.now() - this.#tickedAt > this.#patience);
  }

  start() {
    this.forget();
    this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
  }

  /** All is well again. */
  forget() {
    this.#slept = false;
    this.#tickedAt = Date.now();
  }

  stop() {
    clearInterval(this.#ticking);
    this.#ticking = undefined;
  }

  #tick() {
    const woke = Date.now() - this.#tickedAt > this.#patience;
    this.#tickedAt = Date.now();
    this.#slept ||= woke;
    if (woke) this.#calls.onWake();
    else this.#calls.onTick();
  }
}
