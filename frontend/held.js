import { ApiError } from "./api.js";
import { Backoff, aborted, pause } from "./waiting.js";
import { NO_PATH, WhipConnection } from "./whip.js";

/**
 * @import { Api } from "./api.js"
 * @import { Presence } from "./presence.js"
 * @typedef {"off" | "connecting" | "connected" | "reconnecting"} Phase
 */

const GOODBYE_MS = 1_000; // news of the reason arrive within this time of the goodbye
const OVERLAP_MS = 3_000;

/**
 * Keeps one WHIP or WHEP connection up from `start()` to `stop()`: what a publisher and a
 * listener have in common.
 *
 * `phase` is "off", "connecting", "connected" or "reconnecting"; each change dispatches
 * `change`. `trouble` is why the last attempt failed, while another one follows. `notice` carries
 * a sentence for the user, `ended` means that it stopped by itself. A subclass says what to offer
 * and where, and when to go on after a loss.
 */
export class HeldConnection extends EventTarget {
  /** @type {Phase} */
  #phase = "off";
  /** @type {AbortController | null} */
  #abort = null;
  /** @type {Set<WhipConnection>} */
  #open = new Set();
  /** @type {string | null} */
  #session = null;
  /** @type {((reason: string) => void) | null} */
  #renew = null;
  /** @type {ApiError | null} */
  #trouble = null;
  #parting = false;

  /**
   * @param {Api} api
   * @param {Presence} presence
   */
  constructor(api, presence) {
    super();
    this.api = api;
    this.presence = presence;
  }

  get phase() {
    return this.#phase;
  }

  /** Whether the server has closed the session, and it is not yet known why. */
  get isParting() {
    return this.#parting;
  }

  /** Why the last attempt failed, while another one follows; empty otherwise. */
  get trouble() {
    return this.#trouble?.message ?? "";
  }

  /**
   * What kind of trouble: no answer, no way for the sound, or a server that asks to wait.
   * @returns {"unreachable" | "no path" | "busy" | null}
   */
  get obstacle() {
    if (!this.#trouble) return null;
    if (this.#trouble.status === 0) return "unreachable";
    return this.#trouble.status === NO_PATH ? "no path" : "busy";
  }

  /** The newest session's id, null while there is none. */
  get session() {
    return this.#session;
  }

  /**
   * The ids of all sessions that are open; two while one replaces the other.
   * @returns {string[]}
   */
  get sessions() {
    return [...this.#open].flatMap(({ session }) => session ?? []);
  }

  // -- what a subclass defines

  /**
   * The path to post the offer to.
   * @returns {string}
   */
  get url() {
    throw new Error("a subclass names its url");
  }

  /** Whether to delete a session that has been replaced. */
  get deletesReplaced() {
    return true;
  }

  /**
   * Add to the peer connection what it should offer.
   * @param {RTCPeerConnection} _pc
   */
  prepare(_pc) {
    throw new Error("a subclass prepares its offer");
  }

  /**
   * A session has begun on the server.
   * @param {string} _session
   */
  begun(_session) {}

  /**
   * A connection has taken over from the one before it.
   * @param {WhipConnection} _old
   */
  replaced(_old) {}

  /**
   * Whether to offer again; asked before every attempt but the first. An ApiError counts as a
   * failed attempt. `returning`: whether it was connected before.
   * @param {AbortSignal} _signal
   * @param {boolean} _returning
   */
  async mayReturn(_signal, _returning) {
    return true;
  }

  /**
   * It stopped by itself, because it was refused.
   * @param {ApiError} error
   */
  gaveUp(error) {
    this.say(error.message);
  }

  /**
   * Whether there is still something to connect to.
   * @param {string} _reason
   * @param {AbortSignal} _signal
   */
  async isWanted(_reason, _signal) {
    return true;
  }

  // -- public

  /** Connect, and stay connected until `stop()`. Does nothing if already started. */
  start() {
    if (this.#abort) return;
    this.#abort = new AbortController();
    this.#setPhase("connecting");
    this.#run(this.#abort);
  }

  /** Disconnect now and for good; with `tell`, the server too. Resolves when it knows. */
  async stop({ tell = true } = {}) {
    this.#abort?.abort();
    this.#abort = null;
    this.#trouble = null;
    this.#parting = false;
    this.#setPhase("off");
    this.#session = null;
    await Promise.all([...this.#open].map((connection) => connection.close({ tell })));
  }

  /** Replace the connection by a new one; while there is none, try again at once. */
  renew() {
    this.#renew?.("renew");
  }

  /**
   * Give the connection up: its sound does not pass ("failed"), or the server has ended it
   * ("closed").
   * @param {"failed" | "closed"} reason
   */
  lose(reason) {
    this.#renew?.(reason);
  }

  // -- the connection's life

  /** @param {AbortController} abort */
  async #run(abort) {
    const { signal } = abort;
    /** @type {WhipConnection | null} */
    let current = null;
    let returning = false;
    try {
      for (;;) {
        const next = await this.#connect(signal, returning);
        if (!next) break;
        const renewed = this.#renewed();
        returning = true;
        if (current) this.#retire(current);
        current = next;
        this.#setPhase("connected");
        const reason = await Promise.race([current.lost, renewed, aborted(signal)]);
        this.#parting = reason === "closed";
        this.#setPhase("reconnecting");
        if (reason !== "renew") {
          this.#drop(current, { tell: this.deletesReplaced && reason === "failed" });
          current = null;
        }
        if (!(await this.#goOn(reason, signal))) break;
      }
      await this.#end(abort);
    } catch (error) {
      if (signal.aborted) return;
      await this.#end(abort, error);
    }
  }

  /**
   * @param {AbortController} abort
   * @param {unknown} [error]
   */
  async #end(abort, error) {
    if (this.#abort !== abort) return;
    await this.stop();
    if (error instanceof ApiError) this.gaveUp(error);
    this.dispatchEvent(new Event("ended"));
    if (error && !(error instanceof ApiError)) throw error;
  }

  /**
   * Open a connection, again and again until it succeeds or is refused for good; null when it
   * may not return.
   * @param {AbortSignal} signal
   * @param {boolean} returning
   */
  async #connect(signal, returning) {
    const backoff = new Backoff();
    for (let again = returning; ; again = true) {
      const hurried = this.#renewed();
      try {
        if (again && !(await this.mayReturn(signal, returning))) return null;
        signal.throwIfAborted();
        const connection = await this.#attempt();
        this.#setTrouble(null);
        return connection;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ApiError && error.passing)) throw error;
        if (!(await this.isWanted("refused", signal))) throw error;
        this.#setTrouble(error);
        await Promise.race([pause(backoff.next(error.retryAfterMs), signal), hurried]);
      }
    }
  }

  async #attempt() {
    const connection = new WhipConnection(this.api, this.url);
    this.#open.add(connection);
    try {
      await connection.open(
        (pc) => this.prepare(pc),
        (session) => this.#begin(session),
      );
      return connection;
    } catch (error) {
      this.#drop(connection, { tell: this.deletesReplaced });
      throw error;
    }
  }

  /**
   * Wait for `renew()`.
   * @returns {Promise<string>}
   */
  #renewed() {
    return new Promise((resolve) => {
      this.#renew = resolve;
    });
  }

  /** @param {string} session */
  #begin(session) {
    this.#session = session;
    this.begun(session);
  }

  /**
   * After a goodbye, wait for the news that explains it; then ask whether to go on.
   * @param {string} reason
   * @param {AbortSignal} signal
   */
  async #goOn(reason, signal) {
    if (reason !== "closed") return this.isWanted(reason, signal);
    const renewed = this.#renewed();
    const news = await Promise.race([renewed, pause(GOODBYE_MS, signal)]);
    if (!this.presence.isOnline) this.#part();
    const wanted = await this.isWanted(news ?? "closed", signal);
    signal.throwIfAborted();
    if (wanted) this.#part();
    return wanted;
  }

  /**
   * Let a replaced connection go: at once, or when the server has let go of it, or soon.
   * @param {WhipConnection} connection
   */
  async #retire(connection) {
    this.replaced(connection);
    if (!this.deletesReplaced) {
      const soon = new Promise((resolve) => setTimeout(resolve, OVERLAP_MS));
      await Promise.race([connection.lost, soon]);
    }
    await this.#drop(connection, { tell: this.deletesReplaced });
  }

  /**
   * @param {WhipConnection} connection
   * @param {{ tell: boolean }} options
   */
  async #drop(connection, options) {
    await connection.close(options);
    this.#open.delete(connection);
  }

  /** A goodbye that nothing explains is a loss. */
  #part() {
    this.#parting = false;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {ApiError | null} trouble */
  #setTrouble(trouble) {
    const same = trouble?.message === this.#trouble?.message;
    this.#trouble = trouble;
    if (same) return;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {Phase} phase */
  #setPhase(phase) {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Tell the user something; an empty text takes it back.
   * @param {string} message
   */
  say(message) {
    this.dispatchEvent(new CustomEvent("notice", { detail: message }));
  }
}
