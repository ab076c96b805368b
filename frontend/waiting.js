/**
 * Wait; ends early when the network comes back, rejects when aborted.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const done = new AbortController();
    const timer = setTimeout(() => end(resolve), ms);
    const end = (/** @type {(reason: any) => void} */ settle) => {
      clearTimeout(timer);
      done.abort();
      settle(signal.reason);
    };
    signal.addEventListener("abort", () => end(reject), { signal: done.signal });
    window.addEventListener("online", () => end(resolve), { signal: done.signal });
  });
}

/**
 * A promise that rejects when the signal aborts.
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
export function aborted(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

const CAP_MS = 2_000; // back within 2 s after the network is
const LONG_CAP_MS = 10_000;
const PATIENT_ATTEMPTS = 20;

/** How long to wait before the next attempt: doubling, capped, half of it random. */
export class Backoff {
  #attempt = 0;

  reset() {
    this.#attempt = 0;
  }

  /** Get ms to wait, never less than the server asked for. */
  next(atLeastMs = 0) {
    const cap = this.#attempt < PATIENT_ATTEMPTS ? CAP_MS : LONG_CAP_MS;
    const full = Math.min(cap, 250 * 2 ** this.#attempt);
    this.#attempt += 1;
    return atLeastMs + full * (0.5 + Math.random() / 2);
  }
}
