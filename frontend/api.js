import { words } from "./words.js";

/**
 * The messages of docs/api.md.
 *
 * @import { ServerClock } from "./clock.js"
 * @typedef {{
 *   username: string, stream_id: string, state: "connecting" | "live" | "reconnecting",
 *   started_at: string | null, listeners: number, denoise: boolean,
 *   attenuation_limit_db: number | null, share_original: boolean, muted: boolean,
 *   title: string | null, post_filter: boolean, model: string,
 *   undenoised_on_overload: boolean, degraded: boolean, part: number,
 * }} Stream
 * @typedef {{
 *   username: string, stream: Stream | null, session: string | null, admin: boolean,
 *   storage: { used_bytes: number, limit_bytes: number | null, full: boolean }, models: string[],
 * }} Me
 * @typedef {{
 *   id: string, username: string, stream_id: string, started_at: string, duration_s: number,
 *   size_bytes: number, title: string | null, peaks: number[], formats: string[],
 *   state: "recording" | "storing" | "ready" | "recovered" | "deleted",
 *   reason: "owner" | "admin" | "quota" | "age" | null,
 * }} Recording
 * @typedef {{ username: string | null, label: string | null, since: string, sessions: string[] }} Listening
 * @typedef {{
 *   id: string, label: string | null, expires_at: string, recordings: boolean, guests: number,
 * }} InviteLink
 * @typedef {{
 *   action: string, session?: string, stream_id?: string, reason?: string, at?: string,
 * }} Control
 * @typedef {{
 *   input_dbfs: number | null, output_dbfs: number | null, late_hops: number, loss: number,
 *   version?: 2, noise_removed_db?: number | null, gaps?: number,
 * }} Stats
 */

/** A refusal or failure, with a sentence a person can act on. */
export class ApiError extends Error {
  /**
   * `status` 0 means that the server was unreachable.
   * @param {string} message
   * @param {{ status?: number, retryAfterMs?: number }} [about]
   */
  constructor(message, { status = 0, retryAfterMs = 0 } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed a little later. */
  get passing() {
    return [0, 408, 409, 425, 429].includes(this.status) || this.status >= 500;
  }
}

const SENTENCES = new Map([
  [401, words.errors.signInAgain],
  [403, words.errors.notAllowed],
  [404, words.errors.gone],
  [413, words.errors.tooLarge],
  [429, words.errors.tooMany],
  [503, words.errors.busy],
]);

/**
 * The server's HTTP interface: JSON for the pages, SDP for WHIP and WHEP.
 *
 * Every failure is an ApiError. Dispatches `signedout` when the server no longer accepts
 * the session cookie, or the token.
 */
export class Api extends EventTarget {
  #clock;

  /**
   * @param {ServerClock} clock
   * @param {string} [token] an invite link's, which counts instead of the cookie
   */
  constructor(clock, token = "") {
    super();
    this.#clock = clock;
    this.token = token;
  }

  /** @param {string} path */
  get(path) {
    return this.#json("GET", path);
  }

  /**
   * Ask only for what would be answered.
   * @param {string} path
   */
  head(path) {
    return this.#request("HEAD", path, {});
  }

  /**
   * @param {string} path
   * @param {object} [body]
   */
  post(path, body) {
    return this.#json("POST", path, body);
  }

  /**
   * @param {string} path
   * @param {object} [body]
   */
  put(path, body) {
    return this.#json("PUT", path, body);
  }

  /**
   * @param {string} path
   * @param {object} body
   */
  patch(path, body) {
    return this.#json("PATCH", path, body);
  }

  /**
   * Delete what is there; the request outlives the page.
   * @param {string} path
   * @param {object} [body]
   */
  delete(path, body) {
    return this.#json("DELETE", path, body, { keepalive: true });
  }

  /**
   * Post an SDP offer; the Response of the 201 has the answer.
   * @param {string} path
   * @param {string} sdp
   */
  offer(path, sdp) {
    const headers = {
      "Content-Type": "application/sdp",
      Accept: "application/sdp",
      "X-Request-ID": `page-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`,
    };
    return this.#request("POST", path, { headers, body: sdp });
  }

  /**
   * Post a WAV; the Response has the server's.
   * @param {string} path
   * @param {ArrayBuffer} wav
   */
  sound(path, wav) {
    const headers = { "Content-Type": "audio/wav", Accept: "audio/wav, application/json" };
    return this.#request("POST", path, { headers, body: wav });
  }

  /**
   * Send trickled candidates to a session (RFC 9725 section 4.3.1).
   * @param {string} path
   * @param {string} fragment
   * @param {string | null} etag
   */
  trickle(path, fragment, etag) {
    const headers = new Headers({ "Content-Type": "application/trickle-ice-sdpfrag" });
    if (etag) headers.set("If-Match", etag);
    return this.#request("PATCH", path, { headers, body: fragment });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @param {RequestInit} [options]
   * @returns {Promise<any>} what docs/api.md says of this path
   */
  async #json(method, path, body, options = {}) {
    const headers = new Headers({ Accept: "application/json" });
    const init = { ...options, headers };
    if (body !== undefined) {
      headers.set("Content-Type", "application/json");
      init.body = JSON.stringify(body);
    }
    const response = await this.#request(method, path, init);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestInit} init
   */
  async #request(method, path, init) {
    const sentAt = Date.now();
    const headers = new Headers(init.headers);
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    let response;
    try {
      response = await fetch(path, {
        method,
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(15_000),
        ...init,
        headers,
      });
    } catch {
      throw new ApiError(words.errors.unreachable);
    }
    this.#clock.learn(response.headers.get("Date"), sentAt, Date.now());
    if (response.ok) return response;
    if (response.status === 401) this.dispatchEvent(new Event("signedout"));
    throw await refusal(response);
  }
}

/** @param {Response} response */
async function refusal(response) {
  const { status } = response;
  const fallback = SENTENCES.get(status) ?? words.errors.status(status);
  return new ApiError((await sentence(response)) ?? fallback, {
    status,
    retryAfterMs: retryAfter(response.headers.get("Retry-After")),
  });
}

/**
 * @param {Response} response
 * @returns {Promise<string | null>}
 */
async function sentence(response) {
  try {
    const { detail } = await response.json();
    if (Array.isArray(detail)) return detail.map((part) => part.msg).join(" ");
    return typeof detail === "string" ? words.errors.told(detail) : null;
  } catch {
    return null; // a proxy's error page
  }
}

/**
 * Read Retry-After, seconds or a date, in ms.
 * @param {string | null} header
 */
function retryAfter(header) {
  if (!header) return 0;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
