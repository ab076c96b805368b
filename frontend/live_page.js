import { ApiError } from "./api.js";

/** @import { Publisher } from "./publisher.js" */

const RENEW_MS = 10 * 60_000;

/**
 * What a page does for as long as it publishes: it keeps the screen on and the sign-in fresh, and
 * asks before it is left.
 */
export class LivePage {
  #publisher;
  /** @type {AbortController | null} */
  #abort = null;

  /** @param {Publisher} publisher */
  constructor(publisher) {
    this.#publisher = publisher;
    publisher.addEventListener("change", () => this.#follow());
  }

  #follow() {
    const publishes = this.#publisher.phase !== "off";
    if (publishes === Boolean(this.#abort)) return;
    this.#abort?.abort();
    this.#abort = publishes ? new AbortController() : null;
    if (this.#abort) this.#begin(this.#abort.signal);
  }

  /** @param {AbortSignal} signal */
  #begin(signal) {
    window.addEventListener("beforeunload", (event) => event.preventDefault(), { signal });
    const renewal = setInterval(() => this.#renewSignIn(), RENEW_MS);
    signal.addEventListener("abort", () => clearInterval(renewal));
    keepAwake(signal);
    document.addEventListener("visibilitychange", () => keepAwake(signal), { signal });
  }

  /** Its answer renews the cookie, which would otherwise end some weeks after the page loaded. */
  async #renewSignIn() {
    try {
      await this.#publisher.api.get("/api/me");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // tried again in a while
    }
  }
}

/**
 * Keep the screen on until the signal aborts; the browser lets it go when the page is hidden.
 * @param {AbortSignal} signal
 */
async function keepAwake(signal) {
  if (!navigator.wakeLock || document.visibilityState !== "visible") return;
  try {
    const lock = await navigator.wakeLock.request("screen");
    if (signal.aborted) await lock.release();
    else signal.addEventListener("abort", () => lock.release());
  } catch (error) {
    if (error.name !== "NotAllowedError") throw error; // such as on low battery
  }
}
