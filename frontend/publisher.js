import { ApiError } from "./api.js";
import { HeldConnection } from "./held.js";
import { Microphone, MicrophoneError } from "./microphone.js";

/**
 * @import { Api, Control } from "./api.js"
 * @import { Presence } from "./presence.js"
 * @import { WhipConnection } from "./whip.js"
 */

const ENDED = "Your stream was ended.";
const UNHEARD = "The server received no sound from your microphone, so the stream did not start.";
const TAKEN_OVER = "Your stream now comes from another page or device.";
const MICROPHONE_GONE = "The microphone was disconnected; using another one now.";

/**
 * The user's own broadcast from this page, from Start to Stop.
 *
 * Dispatches `stats` with the server's levels, besides what HeldConnection does.
 */
export class Publisher extends HeldConnection {
  #username;
  #microphone = new Microphone();
  #deviceId = "";
  #starting = false;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {string | null} */
  #seenStream = null;
  /** @type {string | null} */
  #leftStream = null;
  /** @type {boolean | null} */
  #toldMuted = null;
  /** @type {Set<string>} */
  #begunSessions = new Set();
  #abort = new AbortController();

  /**
   * @param {Api} api
   * @param {Presence} presence
   * @param {string} username
   */
  constructor(api, presence, username) {
    super(api, presence);
    this.#username = username;
    const { signal } = this.#abort;
    const obey = (/** @type {CustomEvent} */ { detail }) => this.#obey(detail);
    presence.addEventListener("control", obey, { signal });
    presence.addEventListener("stream", () => this.#follow(), { signal });
    this.#microphone.addEventListener("lost", () => this.#replaceMicrophone(), { signal });
    this.#microphone.addEventListener("muted", () => this.#follow(), { signal });
  }

  get url() {
    return "/whip";
  }

  /** The end of a session can be the end of the stream: only Stop deletes. */
  get deletesReplaced() {
    return false;
  }

  /** The user's stream as friends see it, null when there is none. */
  get stream() {
    return this.presence.streamOf(this.#username);
  }

  /** Whether the stream comes from another page or device. */
  get isElsewhere() {
    return this.phase === "off" && !this.#starting && this.state !== "off";
  }

  /** "off", "connecting", "live" or "reconnecting": what the page shows the user. */
  get state() {
    const { stream } = this;
    if (this.#starting) return "connecting";
    if (this.phase === "off") {
      return stream && stream.stream_id !== this.#leftStream ? stream.state : "off";
    }
    if (this.phase !== "connected") return this.phase;
    return stream?.state ?? (this.#seenStream ? "reconnecting" : "connecting");
  }

  /** Whether the system mutes the microphone of this page. */
  get muted() {
    return this.phase !== "off" && this.#microphone.muted;
  }

  /** Open the microphone and stream. Raises MicrophoneError. */
  async start() {
    if (this.#starting || this.phase !== "off") return;
    this.#seenStream = this.#leftStream = null;
    this.#toldMuted = null;
    this.#setStarting(true);
    try {
      if (await this.#microphone.start(this.#deviceId)) super.start();
    } finally {
      this.#setStarting(false);
    }
  }

  /** @param {{ tell?: boolean }} [options] */
  async stop(options) {
    this.#microphone.stop();
    this.#leftStream = this.stream?.stream_id ?? null;
    this.presence.publishing(null);
    this.#setStarting(false);
    await super.stop(options);
  }

  /** End the stream, wherever it comes from. */
  async stopElsewhere() {
    await this.api.post("/api/stream/stop");
  }

  /** The page is closing: end the stream with a message that outlives it. */
  leave() {
    for (const session of this.sessions) {
      navigator.sendBeacon(`/api/stream/stop?session=${encodeURIComponent(session)}`);
    }
    this.stop({ tell: false });
  }

  /**
   * Switch to this microphone, even during a stream. Raises MicrophoneError.
   * @param {string} deviceId
   */
  async choose(deviceId) {
    this.#deviceId = deviceId;
    if (this.#microphone.track) await this.#changeTrack(deviceId);
  }

  close() {
    this.#abort.abort();
    return this.stop();
  }

  // -- of HeldConnection

  /** @param {RTCPeerConnection} pc */
  prepare(pc) {
    const track = /** @type {MediaStreamTrack} */ (this.#microphone.track);
    const transceiver = pc.addTransceiver(track, { direction: "sendonly" });
    const stats = pc.createDataChannel("stats", { ordered: false, maxRetransmits: 0 });
    stats.addEventListener("message", ({ data }) => {
      this.dispatchEvent(new CustomEvent("stats", { detail: JSON.parse(data) }));
    });
    this.#sender = transceiver.sender;
  }

  /** @param {string} session */
  begun(session) {
    this.#begunSessions.add(session);
    this.presence.publishing(session);
  }

  /**
   * Two senders at once would each take the stream over from the other.
   * @param {WhipConnection} old
   */
  replaced(old) {
    old.mute();
  }

  /** An offline page does not hear of a takeover; it must not take the stream back. */
  async mayReturn() {
    try {
      const { session } = await this.api.get("/api/me");
      if (!session || this.#begunSessions.has(session)) return true;
      await this.#yield();
      return false;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the offer meets the same, and says so
      return true;
    }
  }

  /** @param {string} reason */
  async isWanted(reason) {
    if (reason !== "closed") return true;
    if (!this.presence.isOnline) await this.presence.refresh();
    if (this.stream) return true;
    this.say(this.#seenStream ? ENDED : UNHEARD);
    return false;
  }

  // -- news

  /** @param {Control} control */
  #obey({ action, session, stream_id: streamId, reason = "" }) {
    if (this.phase === "off") return;
    const meant = session ? session === this.session : streamId === this.#seenStream;
    if (!meant) return;
    if (action === "republish") this.renew();
    if (action === "taken_over") this.#yield();
    if (action === "quota") this.say(reason);
  }

  /** The stream continues from elsewhere. */
  async #yield() {
    const stopped = this.stop({ tell: false });
    this.#leftStream = null;
    this.say(TAKEN_OVER);
    this.dispatchEvent(new Event("change"));
    await stopped;
  }

  #follow() {
    const { stream } = this;
    if (!stream) this.#leftStream = null;
    else if (this.phase !== "off" && stream.started_at) this.#seenStream = stream.stream_id;
    if (stream && this.phase === "connected" && this.state === "live") this.#tellMuted(stream.muted);
    this.dispatchEvent(new Event("change"));
  }

  // -- the microphone

  /**
   * Tell friends why they hear nothing: at the start, and when it changes.
   * @param {boolean} known what the stream says
   */
  async #tellMuted(known) {
    const { muted } = this;
    if (muted === this.#toldMuted) return;
    this.#toldMuted = muted;
    if (muted === known) return;
    try {
      await this.api.patch("/api/stream", { muted });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#toldMuted = !muted; // told with the next change
    }
  }

  async #replaceMicrophone() {
    if (this.phase === "off") return;
    try {
      await this.#changeTrack("");
      this.say(MICROPHONE_GONE);
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.say(error.message);
      await this.stop();
    }
  }

  /** @param {string} deviceId */
  async #changeTrack(deviceId) {
    const track = await this.#microphone.start(deviceId);
    if (track) await this.#sender?.replaceTrack(track);
  }

  /** @param {boolean} starting */
  #setStarting(starting) {
    if (starting === this.#starting) return;
    this.#starting = starting;
    this.dispatchEvent(new Event("change"));
  }
}
