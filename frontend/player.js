import { el } from "./dom.js";
import { language, words } from "./words.js";

/**
 * @import { Recording } from "./api.js"
 * @import { Listener } from "./listener.js"
 * @import { Presence } from "./presence.js"
 */

const VOLUME = "hushcast.volume";
const RATE = "hushcast.rate";
const DATE = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

const EXACT = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

/** The speeds that the pages offer. */
export const RATES = [0.75, 1, 1.25, 1.5, 2];

/**
 * What a recording is called: by its title, or by when it was made.
 * @param {{ title?: string | null, started_at: string }} recording
 */
export function titleOf({ title, started_at: startedAt }) {
  return title || DATE.format(new Date(startedAt));
}

/**
 * What each recording of a list is called, by its id: those that would be called the same have
 * their seconds too.
 * @param {{ id: string, title?: string | null, started_at: string }[]} recordings
 * @returns {Map<string, string>}
 */
export function namesOf(recordings) {
  const counts = new Map();
  for (const each of recordings) counts.set(titleOf(each), (counts.get(titleOf(each)) ?? 0) + 1);
  return new Map(
    recordings.map((each) => {
      const exact = EXACT.format(new Date(each.started_at));
      const unique = each.title ? `${each.title}, ${exact}` : exact;
      return [each.id, counts.get(titleOf(each)) > 1 ? unique : titleOf(each)];
    }),
  );
}

/**
 * Plays one sound at a time, whichever view is shown: the stream that `listener` hears, or a
 * recording. One begins, and the other stops.
 *
 * Dispatches `change` when what plays, whether it plays, its length, the rate or the volume has
 * changed, `time` while a recording's position moves, and `notice` with a sentence for the user.
 * Volume and rate are remembered in this browser.
 */
export class Player extends EventTarget {
  #listener;
  #abort = new AbortController();
  /** @type {Recording | null} */
  #recording = null;
  /** @type {number | null} where to begin once the recording's length is known, s */
  #startAt = null;
  #hasPlayed = false;
  #volume = 1;

  /** The recordings' loudspeaker; the bar holds it. */
  audio = el("audio", { preload: "none", testid: "recording-audio" });

  /**
   * @param {Listener} listener
   * @param {Presence} presence
   */
  constructor(listener, presence) {
    super();
    this.#listener = listener;
    this.volume = number(localStorage.getItem(VOLUME), 1);
    this.rate = number(localStorage.getItem(RATE), 1);
    const { signal } = this.#abort;
    listener.addEventListener("change", () => this.#followLive(), { signal });
    const onRecording = (/** @type {CustomEvent} */ { detail }) => this.#take(detail);
    presence.addEventListener("recording", onRecording, { signal });
    for (const type of ["play", "pause", "durationchange", "waiting", "playing"]) {
      this.audio.addEventListener(type, () => this.#changed());
    }
    this.audio.addEventListener("timeupdate", () => this.#moved());
    this.audio.addEventListener("loadedmetadata", () => this.#begin());
    this.audio.addEventListener("error", () => this.#recover());
  }

  /** Whom this page listens to live, null for nobody. */
  get live() {
    return this.#listener.username;
  }

  /** The recording that plays or is paused, null for none. */
  get recording() {
    return this.#recording;
  }

  /** Whether no recording plays. */
  get paused() {
    return this.audio.paused;
  }

  get position_s() {
    return this.#startAt ?? this.audio.currentTime;
  }

  get duration_s() {
    const { duration } = this.audio;
    return Number.isFinite(duration) ? duration : (this.#recording?.duration_s ?? 0);
  }

  /** How fast recordings play; 1 is as spoken. */
  get rate() {
    return this.audio.defaultPlaybackRate;
  }

  set rate(rate) {
    this.audio.defaultPlaybackRate = this.audio.playbackRate = rate;
    localStorage.setItem(RATE, String(rate));
    this.#changed();
  }

  /** How loud both live sound and recordings are, 0..1. */
  get volume() {
    return this.#volume;
  }

  set volume(volume) {
    this.#volume = Math.min(1, Math.max(0, volume));
    this.audio.volume = this.#volume;
    this.#listener.volume = this.#volume;
    localStorage.setItem(VOLUME, String(this.#volume));
    this.#changed();
  }

  /**
   * Play this recording, or pause it if it plays.
   * @param {Recording} recording
   */
  async toggle(recording) {
    if (this.#isCurrent(recording) && !this.paused) this.pause();
    else await this.play(recording);
  }

  /**
   * Play this recording, by default from where it was paused. Live listening stops.
   * @param {Recording} recording
   * @param {{ at_s?: number }} [options]
   */
  async play(recording, { at_s } = {}) {
    if (!this.#isCurrent(recording) || this.audio.error) {
      const from = this.#isCurrent(recording) ? this.position_s : null;
      this.#load(recording, at_s ?? from);
    } else if (at_s !== undefined) this.seek(at_s);
    if (this.live) this.#listener.stop();
    await this.#play();
  }

  pause() {
    this.audio.pause();
  }

  /** @param {number} position s */
  seek(position) {
    if (!this.#recording) return;
    const to = Math.max(0, Math.min(position, this.duration_s));
    if (this.audio.readyState === HTMLMediaElement.HAVE_NOTHING) this.#startAt = to;
    else this.audio.currentTime = to;
    this.#moved();
  }

  /** Put the recording away. */
  eject() {
    this.audio.pause();
    this.audio.replaceChildren();
    this.audio.load();
    this.#recording = this.#startAt = null;
    this.#changed();
  }

  close() {
    this.#abort.abort();
    this.eject();
  }

  /** @param {Recording} recording */
  #isCurrent(recording) {
    return recording.id === this.#recording?.id;
  }

  /**
   * Load the small copy or, where there is none or the browser does not play it, the WAV.
   * @param {Recording} recording
   * @param {number | null} from s
   */
  #load(recording, from) {
    const path = `/api/recordings/${encodeURIComponent(recording.id)}/audio`;
    const addresses = recording.formats.includes("small") ? [`${path}?format=small`, path] : [path];
    this.audio.replaceChildren(...addresses.map((src) => el("source", { src })));
    this.#recording = recording;
    this.#startAt = from;
    this.#hasPlayed = false;
    this.audio.load();
    this.#changed();
  }

  async #play() {
    const recording = this.#recording;
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name === "AbortError" || recording !== this.#recording) return; // another one plays
      this.dispatchEvent(new CustomEvent("notice", { detail: words.listen.unplayable }));
    }
  }

  #begin() {
    if (this.#startAt !== null) this.audio.currentTime = this.#startAt;
    this.#startAt = null;
  }

  /** A signed address expires while a page stays open: ask for a new one, once. */
  #recover() {
    const recording = this.#recording;
    if (!recording || !this.#hasPlayed) return;
    this.#load(recording, this.audio.currentTime);
    this.#play();
  }

  #moved() {
    this.#hasPlayed ||= this.audio.currentTime > 0;
    this.dispatchEvent(new Event("time"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #followLive() {
    if (this.live) this.pause();
    this.#changed();
  }

  /** @param {{ recording: Recording, removed?: boolean }} news */
  #take({ recording, removed }) {
    if (!this.#isCurrent(recording)) return;
    if (removed || !["ready", "recovered"].includes(recording.state)) return this.eject();
    this.#recording = recording; // its title may have changed
    this.#changed();
  }
}

/**
 * @param {string | null} text
 * @param {number} otherwise
 */
function number(text, otherwise) {
  const value = Number.parseFloat(text ?? "");
  return Number.isFinite(value) ? value : otherwise;
}
