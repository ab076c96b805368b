import { ApiError } from "./api.js";
import { HeldConnection } from "./held.js";
import { KeptSettings, settingsQuery } from "./kept_settings.js";
import { LinkQuality } from "./link_quality.js";
import { LivePage } from "./live_page.js";
import { Microphone, MicrophoneError } from "./microphone.js";
import { readColumns } from "./spectrum.js";
import { Silence, stateOf } from "./stream_state.js";
import { Vigil } from "./vigil.js";
import { words } from "./words.js";

/**
 * @import { Api, Control, Stats, Stream } from "./api.js"
 * @import { Choices } from "./kept_settings.js"
 * @import { Presence } from "./presence.js"
 * @import { End, Facts } from "./stream_state.js"
 * @import { WhipConnection } from "./whip.js"
 */

const GRACE_MS = 10_000; // how long a stream waits for its publisher
const PRESS_MS = 60_000; // a press of Start is good for this long
const NO_PATH_MS = 3_000; // the server's levels come ten times a second
const NEWS_PATIENCE_MS = 1_500;
const BEGIN_ANEW_MS = 30_000;
const WAIT_MS = 60_000; // how long the server lets a page wait for a place

/**
 * The user's own broadcast from this page, from Start to Stop.
 *
 * It goes on by itself while the server keeps the stream for it, and after the server has asked
 * for it; after the end only Start begins a new one. Dispatches, besides what HeldConnection does,
 * `stats` with the server's levels, `columns` with the spectrum, and `quality`.
 */
export class Publisher extends HeldConnection {
  #username;
  #microphone = new Microphone();
  #silence = new Silence();
  #quality = new LinkQuality();
  #vigil = new Vigil(GRACE_MS, { onTick: () => this.#tick(), onWake: () => this.#wake() });
  #abort = new AbortController();
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  /** @type {Set<string>} */
  #begunSessions = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;

  // What the page knows of the stream since Start.
  #starting = false;
  #pressedAt = 0;
  /** @type {string | null} */
  #seenStream = null;
  /** @type {string | null} */
  #leftStream = null;
  /** @type {Stream | null} the last news of the own stream */
  #known = null;
  /** @type {End | null} */
  #ended = null;
  #problem = "";
  #muted = false;
  /** @type {boolean | null} */
  #toldMuted = null;
  #silent = false;
  #serverAway = false;
  #hadListeners = false;

  /** When the server was last heard, by the wall clock, which goes on while the device sleeps. */
  #heardAt = 0;
  #isHeard = false;
  #anewUntil = 0;
  #waitsUntil = 0;

  /** The stream's title, for the stream that begins next. */
  title = "";
  /** Whether a view says what happens, so that no notice has to. */
  isShown = false;

  /**
   * @param {Api} api
   * @param {Presence} presence
   * @param {string} username
   * @param {string[]} models those that the server has
   */
  constructor(api, presence, username, models) {
    super(api, presence);
    this.#username = username;
    this.settings = new KeptSettings(username, models);
    new LivePage(this);
    const { signal } = this.#abort;
    const obey = (/** @type {CustomEvent} */ { detail }) => this.#obey(detail);
    presence.addEventListener("control", obey, { signal });
    presence.addEventListener("stream", () => this.#follow(), { signal });
    presence.addEventListener("link", () => this.#watchNews(), { signal });
    this.#microphone.addEventListener("muted", () => this.#follow(), { signal });
    this.#microphone.addEventListener("replaced", () => this.#send(), { signal });
    const fail = (/** @type {CustomEvent} */ { detail }) => this.#fail(detail);
    this.#microphone.addEventListener("lost", fail, { signal });
  }

  /** With the settings, so that a stream begins, or goes on, with them. */
  get url() {
    const settings = this.#known ?? { ...this.settings.choices, title: this.title };
    return `/whip?${settingsQuery({ ...settings, muted: this.#isMuted })}`;
  }

  /** The end of a session can be the end of the stream: only Stop deletes. */
  get deletesReplaced() {
    return false;
  }

  /** The user's stream as friends see it, null when there is none. */
  get stream() {
    return this.presence.streamOf(this.#username);
  }

  /** What the page knows, for `view` of stream_state.js. */
  get facts() {
    const { stream, phase } = this;
    const left = phase === "off" && stream?.stream_id === this.#leftStream;
    const undecided = this.#isUndecided;
    return /** @type {Facts} */ ({
      phase,
      undecided,
      starting: this.#starting,
      stream: left ? null : undecided ? (stream ?? this.#known) : stream,
      wasLive: this.#seenStream !== null,
      ended: this.#ended,
      problem: this.#problem,
      obstacle: this.obstacle,
      muted: phase !== "off" && this.#muted,
      systemMuted: this.muted,
      silent: this.#silent,
      serverAway: this.#serverAway,
      hadListeners: this.#hadListeners,
    });
  }

  /** Whether it ends or goes elsewhere, or is lost: the news will say it, or the sound will. */
  get #isUndecided() {
    if (!this.#seenStream) return false;
    const isHeard = Date.now() - this.#heardAt < NO_PATH_MS;
    const isWithdrawn = this.phase === "connected" && !this.stream && isHeard;
    return this.isParting || isWithdrawn;
  }

  /** "off", "connecting", "live" or "reconnecting": what the page shows the user. */
  get state() {
    return stateOf(this.facts);
  }

  /** Whether the stream comes from another page or device. */
  get isElsewhere() {
    return this.phase === "off" && !this.#starting && this.state !== "off";
  }

  /** Whether the system mutes the microphone of this page. */
  get muted() {
    return this.phase !== "off" && this.#microphone.muted;
  }

  /** Whether friends hear silence because somebody pressed Mute, here or elsewhere. */
  get isMutedByPerson() {
    return this.#muted || (!this.#microphone.muted && (this.stream?.muted ?? false));
  }

  /** The open microphone's device id, null while it is closed; "" is the default one. */
  get deviceInUse() {
    return this.#microphone.deviceId;
  }

  /** What has become of the chosen microphone; empty if it is used. */
  get deviceNote() {
    return this.#microphone.note;
  }

  /** Open the microphone and stream. */
  async start() {
    if (this.#starting || this.phase !== "off") return;
    const continued = this.isElsewhere ? this.stream : null;
    this.#forget();
    this.#known = continued; // with the settings that it has
    this.#setStarting(true);
    try {
      if (!(await this.#microphone.start(this.settings.choices.deviceId))) return;
      this.say(this.deviceNote);
      this.#pressedAt = Date.now();
      this.#vigil.start();
      super.start();
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.#finish("failed", error.message);
    } finally {
      this.#setStarting(false);
    }
  }

  /** @param {{ tell?: boolean }} [options] */
  async stop(options) {
    const wasOn = this.phase !== "off";
    this.#vigil.stop();
    this.#microphone.stop();
    const isGone = this.#ended !== "taken over";
    this.#leftStream = (isGone && this.stream?.stream_id) || null;
    if (wasOn) this.#ended ??= "stopped";
    if (wasOn) this.title = "";
    this.#pc = this.#sender = this.#known = null;
    this.#muted = this.#silent = false;
    this.presence.publishing(null);
    this.#setStarting(false);
    await super.stop(options);
  }

  /** End the stream, wherever it comes from. */
  async stopElsewhere() {
    await this.api.post("/api/stream/stop");
    this.#ended = "stopped";
  }

  /** The page is closing: end the stream with a message that outlives it. */
  leave() {
    for (const session of this.sessions) {
      navigator.sendBeacon(`/api/stream/stop?session=${encodeURIComponent(session)}`);
    }
    this.stop({ tell: false });
  }

  /**
   * Use this microphone from now on, even during a stream. Raises MicrophoneError.
   * @param {string} deviceId
   */
  async choose(deviceId) {
    this.settings.keep({ deviceId });
    if (this.#microphone.track && (await this.#microphone.start(deviceId))) await this.#send();
  }

  /**
   * Send silence, or sound again: here at once, and the server tells friends why. Raises ApiError.
   * @param {boolean} muted
   */
  async mute(muted) {
    this.#muted = muted;
    this.#microphone.silenced = muted;
    this.#changed();
    // While it is not live, it is told with the offer or once it is.
    if (this.state === "live" && this.stream?.muted !== this.#isMuted) await this.#patchMuted();
  }

  /**
   * Change the stream's settings, and keep what is kept from stream to stream. Raises ApiError.
   * @param {Partial<Omit<Choices, "deviceId"> & Pick<Stream, "title">>} change
   */
  async change({ title, ...kept }) {
    if (title !== undefined) this.title = title ?? "";
    const known = this.state === "live" || this.state === "reconnecting";
    const stream = known
      ? await this.api.patch("/api/stream", title === undefined ? kept : { title })
      : null;
    this.settings.keep(kept);
    if (stream && this.#known) this.#known = stream;
    this.#changed();
  }

  /** @param {{ tell?: boolean }} [options] */
  close(options) {
    this.#abort.abort();
    clearTimeout(this.#patience);
    return this.stop(options);
  }

  // -- of HeldConnection

  /** @param {RTCPeerConnection} pc */
  prepare(pc) {
    const track = /** @type {MediaStreamTrack} */ (this.#microphone.track);
    const transceiver = pc.addTransceiver(track, { direction: "sendonly" });
    const options = { ordered: false, maxRetransmits: 0, protocol: "2" };
    const stats = pc.createDataChannel("stats", options);
    stats.binaryType = "arraybuffer";
    stats.addEventListener("message", ({ data }) => this.#hear(data));
    this.#pc = pc;
    this.#sender = transceiver.sender;
    this.#isHeard = false;
  }

  /** @param {string} session */
  begun(session) {
    this.#waitsUntil = 0;
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

  /**
   * Only the server knows whether the stream still waits for this page. An offline page hears
   * neither of a takeover, which it must not undo, nor of the end, after which only Start begins.
   * @param {AbortSignal} _signal
   * @param {boolean} returning
   */
  async mayReturn(_signal, returning) {
    if (!returning) {
      const good = Date.now() - this.#pressedAt < PRESS_MS;
      if (!good) this.#finish("late");
      return good;
    }
    const { session, stream } = await this.api.get("/api/me");
    if (session && !this.#begunSessions.has(session)) {
      await this.#yield();
      return false;
    }
    if (stream || Date.now() < this.#anewUntil) return true;
    if (this.#vigil.slept || Date.now() > Math.max(this.#heardAt + GRACE_MS, this.#waitsUntil)) {
      this.#finish("absent");
      return false;
    }
    throw new ApiError(words.stream.sentences.lost); // it is asked to begin anew, or may be
  }

  /** @param {string} reason */
  async isWanted(reason) {
    if (reason !== "closed") return true;
    if (!this.presence.isOnline) await this.presence.refresh();
    if (this.stream || Date.now() < this.#waitsUntil) return true;
    if (this.#endedUntouched) {
      this.#seenStream = null;
      this.#anewUntil = this.#pressedAt + PRESS_MS;
      return true;
    }
    if (this.#vigil.slept) this.#finish("absent");
    else this.#finish(this.#seenStream ? "ended" : "unheard");
    return false;
  }

  /** Whether the stream that Start was to take over ended first: the press is still good. */
  get #endedUntouched() {
    const good = Date.now() - this.#pressedAt < PRESS_MS;
    return good && this.#seenStream !== null && !this.#heardAt;
  }

  /** @param {ApiError} error */
  gaveUp(error) {
    this.#finish("failed", error.message);
  }

  // -- news

  /** @param {Control} control */
  #obey({ action, session, stream_id: streamId }) {
    if (this.phase === "off") return;
    const meant = session ? session === this.session : streamId === this.#seenStream;
    if (!meant) return;
    if (action === "wait") this.#waitsUntil = Date.now() + WAIT_MS;
    if (action === "republish" && !this.#vigil.slept) {
      this.#anewUntil = Date.now() + BEGIN_ANEW_MS;
      this.renew();
    }
    if (action === "taken_over") this.#yield();
  }

  /** The stream continues from elsewhere. */
  async #yield() {
    this.#ended = "taken over";
    const stopped = this.stop({ tell: false });
    this.say(words.stream.sentences.ended["taken over"]);
    this.#changed();
    await stopped;
  }

  #follow() {
    const { stream, phase } = this;
    if (!stream) this.#leftStream = null;
    if (phase !== "off") this.#learn(stream);
    if (phase === "connected" && stream && this.state === "live") this.#tellMuted(stream.muted);
    this.#changed();
  }

  /** @param {Stream | null} stream */
  #learn(stream) {
    if (stream?.started_at) {
      this.#seenStream = stream.stream_id;
      this.#known = stream;
    }
    if (stream?.listeners) this.#hadListeners = true;
    const gone = !stream && this.#seenStream && this.phase === "connected";
    if (gone && Date.now() - this.#heardAt > NO_PATH_MS) this.lose("closed");
  }

  /** Do not mention short interruptions. */
  #watchNews() {
    clearTimeout(this.#patience);
    const set = (/** @type {boolean} */ away) => {
      this.#serverAway = away;
      this.#changed();
    };
    if (this.presence.isOnline) set(false);
    else this.#patience = setTimeout(() => set(true), NEWS_PATIENCE_MS);
  }

  // -- what the server hears

  /** @param {string | ArrayBuffer} data */
  #hear(data) {
    this.#heardAt = Date.now();
    this.#isHeard = true;
    if (typeof data !== "string") {
      const columns = readColumns(data);
      if (columns) this.dispatchEvent(new CustomEvent("columns", { detail: columns }));
      return;
    }
    /** @type {Stats} */
    const stats = JSON.parse(data);
    this.#quality.hear(stats, this.#heardAt);
    const silent = this.#silence.hear(this.#isMuted ? null : stats.input_dbfs, this.#heardAt);
    if (silent !== this.#silent) {
      this.#silent = silent;
      this.#changed();
    }
    this.dispatchEvent(new CustomEvent("stats", { detail: stats }));
  }

  #tick() {
    if (this.phase !== "connected") return;
    if (this.#isHeard && Date.now() - this.#heardAt > NO_PATH_MS) return this.lose("failed");
    this.#vigil.forget();
    this.#measure();
  }

  /** After a sleep that a stream does not outlast nothing goes on unasked. */
  #wake() {
    if (this.phase !== "connecting") return this.lose("failed");
    this.#finish("late");
    this.stop();
  }

  async #measure() {
    const pc = this.#pc;
    if (!pc) return;
    const measured = await this.#quality.measure(pc, Date.now());
    if (pc === this.#pc) this.dispatchEvent(new CustomEvent("quality", { detail: measured }));
  }

  // -- the microphone

  get #isMuted() {
    return this.#muted || this.#microphone.muted;
  }

  /**
   * Tell friends why they hear nothing: at the start, and when it changes.
   * @param {boolean} known what the stream says
   */
  async #tellMuted(known) {
    const muted = this.#isMuted;
    if (muted === this.#toldMuted) return;
    this.#toldMuted = muted;
    if (muted === known) return;
    try {
      await this.#patchMuted();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // told with the next change
    }
  }

  async #patchMuted() {
    const muted = this.#isMuted;
    this.#toldMuted = muted;
    try {
      await this.api.patch("/api/stream", { muted });
    } catch (error) {
      this.#toldMuted = !muted;
      throw error;
    }
  }

  /** Send the sound of the device that is open now, and say so if it is not the chosen one. */
  async #send() {
    this.say(this.deviceNote);
    this.#changed();
    await this.#sender?.replaceTrack(this.#microphone.track);
  }

  /** @param {MicrophoneError} error */
  #fail(error) {
    this.#finish("failed", error.message);
    return this.stop();
  }

  // -- words

  /** @param {string} message */
  say(message) {
    if (message && !this.isShown) super.say(message);
  }

  /** Forget what was before Start. */
  #forget() {
    this.#seenStream = this.#leftStream = this.#known = this.#ended = this.#toldMuted = null;
    this.#silent = this.#hadListeners = false;
    this.#anewUntil = this.#waitsUntil = this.#heardAt = 0;
    this.#problem = "";
    this.#quality = new LinkQuality();
    this.#silence = new Silence();
    this.#microphone.silenced = this.#muted = false;
  }

  /**
   * Note how it ended; whoever is about to stop says it first.
   * @param {End} end
   * @param {string} [problem]
   */
  #finish(end, problem = "") {
    this.#ended = end;
    this.#problem = problem;
    this.say(problem || words.stream.sentences.ended[end]);
    this.#changed();
  }

  /** @param {boolean} starting */
  #setStarting(starting) {
    if (starting === this.#starting) return;
    this.#starting = starting;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
