import { ApiError } from "./api.js";
import { Backoff, pause } from "./waiting.js";
import { words } from "./words.js";

/** @import { Api, Control, Stream } from "./api.js" */

const POLL_MS = 3_000;
/** How long what a page shows first waits for the first connection. */
const FIRST_WAIT_MS = 1_500;
const OPEN_TIMEOUT_MS = 5_000;
/** A server that goes away leaves many pages: they come back one by one within this time. */
const SPREAD_MS = 1_000;
/** How many of the server's heartbeats may be missing. */
const MISSING = 2;

/**
 * Who is live: a snapshot, then changes, over a socket that reopens whenever it is lost, or silent
 * without the server's heartbeats. While it cannot be opened, the page asks for the list of streams
 * every 3 s.
 *
 * Dispatches `stream` {username, stream} for every change, `snapshot` when a connection has
 * begun, `friends`, `recording` {recording}, `listeners` {listeners}: who hears the own stream,
 * `control` {action, stream_id, session, reason, at}, its reason in the page's language, and `link`
 * when `isOnline` or `isAway` changes.
 */
export class Presence extends EventTarget {
  #api;
  /** @type {Map<string, Stream | null>} */
  #streams = new Map();
  /** @type {Map<string, number>} */
  #versions = new Map();
  #version = 0;
  /** @type {WebSocket | null} */
  #socket = null;
  #online = false;
  #hasBegun = false;
  #answers = false;
  /** @type {string | null} */
  #publishing = null;
  /** @type {number | undefined} */
  #poll;
  /** @type {AbortController | null} */
  #abort = null;

  /**
   * @param {Api} api
   * @param {{ guestOf?: string }} [who] of a guest: whom the link lets it hear
   */
  constructor(api, { guestOf = "" } = {}) {
    super();
    this.#api = api;
    /** Whose guest this page is, empty for a user's. */
    this.guestOf = guestOf;
  }

  /** Whether the socket is up and its snapshot has come. */
  get isOnline() {
    return this.#online;
  }

  /** Whether there was a connection since the page loaded. */
  get hasBegun() {
    return this.#hasBegun;
  }

  /** Whether neither the socket nor requests reach the server. */
  get isAway() {
    return !this.#online && !this.#answers;
  }

  /**
   * A person's stream, null when there is none.
   * @param {string} username
   */
  streamOf(username) {
    return this.#streams.get(username) ?? null;
  }

  /**
   * All streams that the user may hear, the own one among them.
   * @returns {Stream[]}
   */
  get streams() {
    return [...this.#streams.values()].flatMap((stream) => stream ?? []);
  }

  /**
   * Have something fetched now, and again whenever a connection has begun: before it, news may have
   * been missed. What is wanted before the first one waits for it, a moment at most.
   * @param {() => unknown} load
   * @param {AbortSignal} signal
   */
  keepUp(load, signal) {
    const waiting = this.#hasBegun ? undefined : setTimeout(load, FIRST_WAIT_MS);
    const stop = () => clearTimeout(waiting);
    signal.addEventListener("abort", stop);
    this.addEventListener("snapshot", stop, { signal, once: true });
    this.addEventListener("snapshot", load, { signal });
    if (this.#hasBegun) load();
  }

  start() {
    const abort = new AbortController();
    this.#abort = abort;
    this.#run(abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.#setOnline(false);
    this.#stopPolling();
    this.#streams.clear();
  }

  /**
   * Announce, now and after every reconnection, that this page publishes by this session.
   * @param {string | null} session
   */
  publishing(session) {
    this.#publishing = session;
    this.#tellPublishing();
  }

  /**
   * Accept a stream learned elsewhere, unless newer news is known already.
   * @param {string} username
   * @param {Stream | null} stream
   */
  learn(username, stream) {
    if (!this.#streams.has(username)) this.#set(username, stream);
  }

  /** Ask for the list of streams now. */
  async refresh() {
    try {
      const streams = await this.#ask();
      if (!this.#online) this.#replace(streams);
      this.#setLink(this.#online, true);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // tried again soon; `isAway` tells
      this.#setLink(this.#online, false);
    }
  }

  /** @returns {Promise<Stream[]>} */
  async #ask() {
    if (!this.guestOf) return this.#api.get("/api/streams");
    const { stream } = await this.#api.get(`/api/users/${this.guestOf}`);
    return stream ? [stream] : [];
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    const backoff = new Backoff();
    while (!signal.aborted) {
      const wasOnline = await this.#connect(signal);
      if (signal.aborted) return;
      if (wasOnline) backoff.reset();
      this.#setOnline(false);
      if (!wasOnline) this.#startPolling();
      try {
        await pause(wasOnline ? Math.random() * SPREAD_MS : backoff.next(), signal);
      } catch {
        return; // stopped
      }
    }
  }

  /**
   * Open a socket and hold it until it ends. Returns whether there was a snapshot.
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>}
   */
  #connect(signal) {
    const url = new URL("/api/presence", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.#api.token) url.searchParams.set("token", this.#api.token);
    const socket = new WebSocket(url);
    const done = new AbortController();
    const options = { signal: done.signal };
    this.#socket = socket;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        clearTimeout(silence);
        done.abort();
        socket.close();
        resolve(this.#online);
      };
      const timer = setTimeout(() => this.#online || end(), OPEN_TIMEOUT_MS);
      /** @type {number | undefined} */
      let silence;
      let patienceMs = 0; // a server before 0.3 has no heartbeat
      const hear = (/** @type {MessageEvent} */ { data }) => {
        const message = JSON.parse(data);
        patienceMs = (message.heartbeat_s ?? 0) * 1000 * MISSING || patienceMs;
        clearTimeout(silence);
        if (patienceMs) silence = setTimeout(end, patienceMs);
        this.#take(message);
      };
      socket.addEventListener("message", hear, options);
      socket.addEventListener("close", end, options);
      window.addEventListener("offline", end, options); // a cut cable closes no socket
      signal.addEventListener("abort", end, options);
    });
  }

  /** @param {any} message */
  #take(message) {
    switch (message.type) {
      case "snapshot":
        this.#version = message.version;
        this.#versions.clear();
        this.#stopPolling();
        this.#replace(message.streams);
        this.#hasBegun = true;
        this.#setOnline(true);
        this.#tellPublishing();
        this.dispatchEvent(new Event("snapshot"));
        break;
      case "stream":
        this.#takeStream(message);
        break;
      case "friends":
        this.dispatchEvent(new Event("friends"));
        break;
      case "control":
        this.dispatchEvent(new CustomEvent("control", { detail: spoken(message) }));
        break;
      case "recording":
      case "listeners":
        this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
        break;
    }
  }

  /** @param {{ username: string, version: number, stream: Stream | null }} change */
  #takeStream({ username, version, stream }) {
    if (version < (this.#versions.get(username) ?? this.#version)) return;
    this.#versions.set(username, version);
    this.#set(username, stream);
  }

  /** @param {Stream[]} streams */
  #replace(streams) {
    const now = new Map(streams.map((stream) => [stream.username, stream]));
    for (const username of new Set([...this.#streams.keys(), ...now.keys()])) {
      this.#set(username, now.get(username) ?? null);
    }
  }

  /**
   * @param {string} username
   * @param {Stream | null} stream
   */
  #set(username, stream) {
    this.#streams.set(username, stream);
    this.dispatchEvent(new CustomEvent("stream", { detail: { username, stream } }));
  }

  /** @param {boolean} online */
  #setOnline(online) {
    this.#setLink(online, online);
  }

  /**
   * @param {boolean} online
   * @param {boolean} answers
   */
  #setLink(online, answers) {
    if (online === this.#online && answers === this.#answers) return;
    this.#online = online;
    this.#answers = answers;
    this.dispatchEvent(new Event("link"));
  }

  #tellPublishing() {
    const socket = this.#socket;
    if (!this.#online || !this.#publishing || socket?.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ type: "publishing", session: this.#publishing }));
  }

  #startPolling() {
    if (this.#poll) return;
    this.#poll = setInterval(() => this.refresh(), POLL_MS);
    this.refresh();
  }

  #stopPolling() {
    clearInterval(this.#poll);
    this.#poll = undefined;
  }
}

/**
 * Get a control message with its reason in the page's language.
 * @param {any} message
 * @returns {Control}
 */
function spoken(message) {
  return message.reason ? { ...message, reason: words.errors.told(message.reason) } : message;
}
