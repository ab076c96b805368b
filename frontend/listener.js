import { Arrival } from "./arrival.js";
import { HeldConnection } from "./held.js";
import { LiveSound } from "./live_sound.js";
import { words } from "./words.js";

/**
 * @import { Api, ApiError, Control, Stream } from "./api.js"
 * @import { Facts } from "./listen_state.js"
 * @import { Sound } from "./live_sound.js"
 * @import { Presence } from "./presence.js"
 */

const RETURN_MS = 10_000; // a stream whose actor was lost begins again within this time
const PATIENCE_MS = 1_500; // shorter absences of the server are not worth a word
const HEARD = ["live", "reconnecting"];

/**
 * Listens to one friend at a time, from Listen to Stop listening or to the end of the stream,
 * and comes back after every loss for as long as the page is open.
 *
 * Besides what HeldConnection does, `change` is dispatched when any of `facts()` has changed.
 */
export class Listener extends HeldConnection {
  #sound;
  #username = "";
  /** @type {Sound} */
  #chosen = "denoised";
  #held = false;
  /** @type {string | null} */
  #streamId = null;
  #part = 0;
  #arrival = new Arrival();
  #isTwofold = false;
  #decided = false;
  #ended = false;
  #problem = "";
  #away = false;
  /** @type {number | undefined} */
  #patience;
  #abort = new AbortController();

  /**
   * @param {Api} api
   * @param {Presence} presence
   * @param {HTMLAudioElement} audio
   */
  constructor(api, presence, audio) {
    super(api, presence);
    this.#sound = new LiveSound(audio);
    const { signal } = this.#abort;
    const follow = (/** @type {CustomEvent} */ { detail }) => this.#follow(detail);
    presence.addEventListener("stream", follow, { signal });
    const obey = (/** @type {CustomEvent} */ { detail }) => this.#obey(detail);
    presence.addEventListener("control", obey, { signal });
    presence.addEventListener("link", () => this.#followLink(), { signal });
    this.#arrival.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    this.#sound.addEventListener("interrupted", () => this.#stopFor(words.listen.interrupted));
  }

  get url() {
    return `/whep/${encodeURIComponent(this.#username)}?sound=both`;
  }

  /** Whom this page listens to, null while off. */
  get username() {
    return this.phase === "off" ? null : this.#username;
  }

  /**
   * The sound that is heard.
   * @returns {Sound}
   */
  get sound() {
    return this.#held ? "original" : this.#chosen;
  }

  get volume() {
    return this.#sound.volume;
  }

  set volume(volume) {
    this.#sound.volume = volume;
  }

  /** The present levels, in dBFS; see LiveSound. */
  get levels() {
    return this.#sound.levels;
  }

  /** Whether the original sound can be heard too. */
  get hasOriginal() {
    return this.#isTwofold && Boolean(this.#stream?.share_original);
  }

  /** Whom this page listens to, or listened to when something ended that. */
  get concern() {
    const isOver = this.phase === "off" && !this.#ended && !this.#problem;
    return isOver ? null : this.#username || null;
  }

  /**
   * What this page knows of a person's stream, for listen_state.js.
   * @param {string} name
   * @returns {Facts}
   */
  facts(name) {
    const here = name === this.#username;
    const stream = this.presence.streamOf(name);
    if (!here) {
      const off = { phase: /** @type {const} */ ("off"), undecided: false, hearing: false, ended: false };
      return { name, stream, ...off, sound: "denoised", away: this.#away, problem: "" };
    }
    return {
      name,
      stream,
      phase: this.phase,
      undecided: !this.#decided,
      hearing: this.#arrival.arrives,
      sound: this.sound,
      away: this.#away,
      ended: this.#ended,
      problem: this.phase === "off" ? this.#problem : this.trouble,
    };
  }

  /**
   * Listen to this user, and to nobody else; in answer to a press.
   * @param {string} username
   */
  async listen(username) {
    const allowed = this.#sound.open();
    if (this.phase !== "off") await this.stop();
    this.#username = username;
    this.#chosen = "denoised";
    this.#sound.show("denoised");
    this.#note({ ended: false, problem: "" });
    this.start();
    if (!(await allowed)) await this.#stopFor(words.listen.blocked);
  }

  /** @param {{ tell?: boolean }} [options] */
  async stop(options) {
    this.#sound.close();
    this.#arrival.stop();
    this.#streamId = null;
    this.#held = this.#isTwofold = false;
    await super.stop(options);
  }

  /** Forget whom this page listened to and why that ended. */
  dismiss() {
    this.#note({ ended: false, problem: "" });
  }

  /**
   * Let the denoised or the original sound be heard.
   * @param {Sound} sound
   */
  choose(sound) {
    const before = this.sound;
    this.#chosen = this.hasOriginal ? sound : "denoised";
    this.#switch(before);
  }

  /**
   * Let the original sound be heard for as long as this holds.
   * @param {boolean} held
   */
  hold(held) {
    const before = this.sound;
    this.#held = held && this.hasOriginal;
    this.#switch(before);
  }

  /** @param {{ tell?: boolean }} [options] */
  close(options) {
    this.#abort.abort();
    clearTimeout(this.#patience);
    const stopped = this.stop(options);
    this.#sound.release();
    return stopped;
  }

  // -- of HeldConnection

  /** @param {RTCPeerConnection} pc */
  prepare(pc) {
    const [denoised, original] = [0, 1].map(() =>
      pc.addTransceiver("audio", { direction: "recvonly" }),
    );
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") this.#play(denoised, original);
      const isSilent = this.#arrival.watches(denoised.receiver) && !this.#arrival.arrives;
      // Without sound there is nothing to wait for.
      if (pc.connectionState === "disconnected" && isSilent) this.lose("failed");
    });
  }

  begun() {
    this.#streamId = this.#stream?.stream_id ?? null;
    this.#part = this.#stream?.part ?? 0;
  }

  /**
   * After a goodbye the news are there: the stream goes on, or it has ended. Otherwise wait for
   * it: until it is there again, or until the server has not had it for a while.
   * @param {string} reason
   * @param {AbortSignal} signal
   */
  async isWanted(reason, signal) {
    this.#decided = true;
    this.dispatchEvent(new Event("change"));
    const isToldNow = reason === "closed" || (reason === "refused" && this.phase === "connecting");
    if (!this.presence.isOnline) await this.presence.refresh();
    if (!isToldNow || this.presence.isAway) await this.#untilHeard(signal);
    this.#checkSound();
    this.#ended = !this.#isHeard;
    return this.#isHeard;
  }

  /**
   * Why is part of the facts, unless it is that the stream has ended.
   * @param {ApiError} error
   */
  gaveUp(error) {
    if (!this.#ended) this.#note({ problem: error.message });
  }

  // -- news

  get #stream() {
    return this.presence.streamOf(this.#username);
  }

  get #isHeard() {
    return HEARD.includes(this.#stream?.state ?? "off");
  }

  /** @param {{ ended?: boolean, problem?: string }} facts */
  #note({ ended = this.#ended, problem = this.#problem }) {
    this.#ended = ended;
    this.#problem = problem;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {{ username: string, stream: Stream | null }} news */
  #follow({ username, stream }) {
    if (username !== this.#username) return;
    if (this.phase === "off") {
      if (stream && this.#ended) this.#note({ ended: false });
      if (!stream && this.#problem) this.#note({ problem: "" });
      return;
    }
    const same = stream?.stream_id === this.#streamId && stream?.part === this.#part;
    if (this.#streamId && !same && this.#isHeard && this.phase === "connected") this.renew();
    this.#checkSound();
  }

  #followLink() {
    clearTimeout(this.#patience);
    if (!this.presence.isAway) return this.#setAway(false);
    this.#patience = setTimeout(() => this.#setAway(true), PATIENCE_MS);
  }

  /** @param {boolean} away */
  #setAway(away) {
    if (away === this.#away) return;
    this.#away = away;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * The publisher may remove a listener.
   * @param {Control} control
   */
  async #obey({ action, stream_id: streamId, session = "", reason = "" }) {
    if (action !== "removed" || this.phase === "off" || streamId !== this.#streamId) return;
    // Guests are removed one by one, and all of a link are told.
    if (this.presence.guestOf && session !== this.session) return;
    await this.#stopFor(reason, { tell: false });
  }

  /**
   * @param {string} problem
   * @param {{ tell?: boolean }} [options]
   */
  async #stopFor(problem, options) {
    if (this.phase === "off") return;
    const stopped = this.stop(options);
    this.#note({ problem });
    await stopped;
  }

  #checkSound() {
    if (this.#stream?.share_original !== false) return;
    this.hold(false);
    this.choose("denoised");
  }

  /**
   * Wait until the stream can be heard, or until the server has been without it for RETURN_MS.
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  #untilHeard(signal) {
    if (this.#isHeard) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = new AbortController();
      const options = { signal: done.signal };
      /** @type {number | undefined} */
      let timer;
      const end = (/** @type {(reason: any) => void} */ settle) => {
        done.abort();
        clearTimeout(timer);
        settle(signal.reason);
      };
      const wait = () => {
        clearTimeout(timer);
        if (!this.presence.isAway) timer = setTimeout(() => end(resolve), RETURN_MS);
      };
      wait();
      this.presence.addEventListener("link", wait, options);
      this.presence.addEventListener("stream", () => this.#isHeard && end(resolve), options);
      signal.addEventListener("abort", () => end(reject), options);
    });
  }

  // -- the sound

  /**
   * Play what the server sends; it may refuse the original's section.
   * @param {RTCRtpTransceiver} denoised
   * @param {RTCRtpTransceiver} original
   */
  #play({ receiver: denoised }, { receiver: original, currentDirection }) {
    if (this.phase === "off") return;
    this.#arrival.watch(denoised);
    this.#isTwofold = currentDirection === "recvonly";
    this.#decided = false;
    this.#sound.connect({
      denoised: denoised.track,
      original: this.#isTwofold ? original.track : null,
    });
  }

  /** @param {Sound} before */
  #switch(before) {
    if (this.sound === before) return;
    this.#sound.show(this.sound);
    this.dispatchEvent(new Event("change"));
  }
}
