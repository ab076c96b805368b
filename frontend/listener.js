import { HeldConnection } from "./held.js";

/**
 * @import { Api, Control, Stream } from "./api.js"
 * @import { Presence } from "./presence.js"
 */

const RETURN_MS = 10_000; // a stream whose actor was lost begins again within this time
const HEARD = ["live", "reconnecting"];

/**
 * Listens to one friend at a time, on the page's one audio element, from Listen to Stop
 * listening or to the end of the stream.
 */
export class Listener extends HeldConnection {
  #audio;
  #username = "";
  #sound = "denoised";
  /** @type {string | null} */
  #streamId = null;
  #abort = new AbortController();

  /**
   * @param {Api} api
   * @param {Presence} presence
   * @param {HTMLAudioElement} audio
   */
  constructor(api, presence, audio) {
    super(api, presence);
    this.#audio = audio;
    const { signal } = this.#abort;
    const follow = (/** @type {CustomEvent} */ { detail }) => this.#follow(detail);
    presence.addEventListener("stream", follow, { signal });
    const obey = (/** @type {CustomEvent} */ { detail }) => this.#obey(detail);
    presence.addEventListener("control", obey, { signal });
  }

  get url() {
    const query = this.#sound === "original" ? "?sound=original" : "";
    return `/whep/${encodeURIComponent(this.#username)}${query}`;
  }

  /** Whom this page listens to, null while off. */
  get username() {
    return this.phase === "off" ? null : this.#username;
  }

  /** "denoised" or "original". */
  get sound() {
    return this.#sound;
  }

  get volume() {
    return this.#audio.volume;
  }

  set volume(volume) {
    this.#audio.volume = volume;
  }

  /**
   * Listen to this user, and to nobody else.
   * @param {string} username
   */
  async listen(username) {
    if (this.phase !== "off") await this.stop();
    this.#username = username;
    this.#sound = "denoised";
    this.start();
  }

  /** @param {{ tell?: boolean }} [options] */
  async stop(options) {
    this.#audio.srcObject = null;
    this.#streamId = null;
    await super.stop(options);
  }

  /**
   * Switch to the denoised or the original sound; the current one plays until then.
   * @param {string} sound
   */
  choose(sound) {
    if (sound === this.#sound) return;
    this.#sound = sound;
    this.renew();
    this.dispatchEvent(new Event("change"));
  }

  close() {
    this.#abort.abort();
    return this.stop();
  }

  // -- of HeldConnection

  /** @param {RTCPeerConnection} pc */
  prepare(pc) {
    const { receiver } = pc.addTransceiver("audio", { direction: "recvonly" });
    const media = new MediaStream([receiver.track]);
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") this.#play(media);
    });
  }

  begun() {
    this.#streamId = this.#stream?.stream_id ?? null;
  }

  /**
   * @param {string} reason
   * @param {AbortSignal} signal
   */
  async isWanted(reason, signal) {
    if (reason === "closed" || (reason === "refused" && this.phase === "connecting")) {
      if (!this.presence.isOnline) await this.presence.refresh();
    } else {
      await this.#untilHeard(signal);
    }
    this.#checkSound();
    return this.#isHeard;
  }

  // -- news

  get #stream() {
    return this.presence.streamOf(this.#username);
  }

  get #isHeard() {
    return HEARD.includes(this.#stream?.state ?? "off");
  }

  /** @param {{ username: string, stream: Stream | null }} news */
  #follow({ username, stream }) {
    if (this.phase === "off" || username !== this.#username) return;
    const another = this.#streamId && stream && stream.stream_id !== this.#streamId;
    if (another && this.#isHeard && this.phase === "connected") this.renew();
    this.#checkSound();
  }

  /**
   * The publisher may remove a listener.
   * @param {Control} control
   */
  async #obey({ action, stream_id: streamId, reason = "" }) {
    if (action !== "removed" || this.phase === "off" || streamId !== this.#streamId) return;
    const stopped = this.stop({ tell: false });
    this.say(reason);
    this.dispatchEvent(new Event("ended"));
    await stopped;
  }

  #checkSound() {
    if (this.#stream?.share_original === false) this.choose("denoised");
  }

  /**
   * Wait until the stream can be heard, RETURN_MS at most.
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  #untilHeard(signal) {
    if (this.#isHeard) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = new AbortController();
      const end = (/** @type {(reason: any) => void} */ settle) => {
        done.abort();
        clearTimeout(timer);
        settle(signal.reason);
      };
      const timer = setTimeout(() => end(resolve), RETURN_MS);
      const options = { signal: done.signal };
      this.presence.addEventListener("stream", () => this.#isHeard && end(resolve), options);
      signal.addEventListener("abort", () => end(reject), options);
    });
  }

  /** @param {MediaStream} media */
  async #play(media) {
    if (this.phase === "off") return;
    this.#audio.srcObject = media;
    try {
      await this.#audio.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // replaced by the next sound
      await this.stop();
      this.say("The browser blocked the sound. Press Listen again.");
    }
  }
}
