import { formatDuration } from "../clock.js";
import { button, el, icon } from "../dom.js";
import { confirm } from "./confirm.js";
import { Waveform } from "./waveform.js";

/**
 * @import { Recording } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const KEPT = ["ready", "recovered"];
/** @type {Record<string, string>} */
const STATES = {
  recording: "Recording",
  storing: "Storing",
  recovered: "Recovered",
};
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/**
 * One recording: play, seek, download and, for its owner, delete.
 *
 * Dispatches `play` when it begins to play and `gone` when it has been deleted.
 */
export class RecordingRow extends EventTarget {
  #visit;
  #audio = el("audio", { preload: "none", testid: "recording-audio" });
  #play = button({ class: "round", testid: "play" });
  #title = el("time", { class: "title" });
  #about = el("span", { class: "about hint" });
  #download;
  #delete;
  #waveform;
  /** @type {number | null} */
  #resumeAt = null;

  /**
   * @param {Visit} visit
   * @param {Recording} recording
   */
  constructor(visit, recording) {
    super();
    this.#visit = visit;
    this.recording = recording;
    const { id } = recording;
    const when = DATE.format(new Date(recording.started_at));
    this.#title.textContent = when;
    this.#title.dateTime = recording.started_at;
    this.#waveform = new Waveform(`Position in the recording of ${when}`);
    this.#download = el(
      "a",
      { class: "button quiet icon-only", testid: "download", "aria-label": "Download", title: "Download" },
      icon("download"),
    );
    this.#delete = this.#makeDelete(recording, when);
    this.element = el(
      "li",
      { class: "recording", testid: `recording-${id}` },
      this.#play,
      el("div", { class: "what" }, this.#title, this.#about),
      this.#waveform.element,
      el("div", { class: "tools" }, this.#download, this.#delete),
      this.#audio,
    );
    this.#listen();
    this.set(recording);
  }

  /**
   * Show the recording as it is now.
   * @param {Recording} recording
   */
  set(recording) {
    const kept = KEPT.includes(recording.state);
    this.recording = recording;
    this.element.dataset.state = recording.state;
    this.#play.disabled = !kept;
    if (this.#delete) this.#delete.disabled = !kept;
    this.#waveform.set(recording.peaks, recording.duration_s, { enabled: kept });
    if (kept) this.#download.setAttribute("href", `${this.#source}?download=1`);
    this.#download.setAttribute("aria-disabled", String(!kept));
    this.#renderPlaying();
  }

  pause() {
    this.#audio.pause();
  }

  close() {
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
    this.#waveform.close();
  }

  get #source() {
    return `/api/recordings/${encodeURIComponent(this.recording.id)}/audio`;
  }

  #listen() {
    const audio = this.#audio;
    this.#play.addEventListener("click", () => (audio.paused ? this.#start() : audio.pause()));
    const onSeek = (/** @type {CustomEvent<number>} */ { detail }) => this.#seek(detail);
    this.#waveform.addEventListener("seek", onSeek);
    audio.addEventListener("play", () => this.dispatchEvent(new Event("play")));
    for (const type of ["play", "pause", "ended"]) {
      audio.addEventListener(type, () => this.#renderPlaying());
    }
    audio.addEventListener("timeupdate", () => this.#renderPosition());
    audio.addEventListener("loadedmetadata", () => {
      if (this.#resumeAt !== null) audio.currentTime = this.#resumeAt;
      this.#resumeAt = null;
    });
  }

  async #start() {
    const audio = this.#audio;
    // A signed address expires while a page stays open: after an error, ask for a new one.
    if (!audio.src || audio.error) {
      this.#resumeAt = this.#resumeAt ?? (audio.currentTime || null);
      audio.src = this.#source;
    }
    try {
      await audio.play();
    } catch (error) {
      if (error.name === "AbortError") return; // paused before it began
      this.#visit.notice.show("Could not play this recording. Try again in a moment.");
    }
  }

  /** @param {number} position */
  #seek(position) {
    if (this.#audio.readyState === HTMLMediaElement.HAVE_NOTHING) this.#resumeAt = position;
    else this.#audio.currentTime = position;
    this.#renderPosition();
  }

  #renderPlaying() {
    const playing = !this.#audio.paused && !this.#audio.ended;
    this.element.classList.toggle("playing", playing);
    this.#play.replaceChildren(icon(playing ? "pause" : "play"));
    this.#play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.#renderPosition();
  }

  #renderPosition() {
    const position = this.#resumeAt ?? this.#audio.currentTime;
    this.#waveform.move(position);
    this.#about.textContent = describe(this.recording, position);
  }

  /**
   * @param {Recording} recording
   * @param {string} when
   */
  #makeDelete(recording, when) {
    if (recording.username !== this.#visit.username) return null;
    const attributes = { class: "quiet icon-only", testid: "delete", "aria-label": "Delete", title: "Delete" };
    return button({ ...attributes, on: { click: () => this.#confirmDelete(when) } }, icon("trash"));
  }

  /** @param {string} when */
  async #confirmDelete(when) {
    const sure = await confirm({
      question: "Delete this recording?",
      consequence: `This permanently deletes the recording of ${when}, for you and your friends.`,
      yes: "Delete",
    });
    if (!sure) return;
    const path = `/api/recordings/${encodeURIComponent(this.recording.id)}`;
    const went = await this.#visit.attempt(() => this.#visit.api.delete(path));
    if (went) this.dispatchEvent(new Event("gone"));
  }
}

/**
 * @param {Recording} recording
 * @param {number} position
 */
function describe({ state, duration_s: duration, size_bytes: size }, position) {
  const played = position ? `${formatDuration(position)} of ` : "";
  const parts = [
    STATES[state],
    duration ? `${played}${formatDuration(duration)}` : null,
    size ? `${(size / 1e6).toFixed(1)} MB` : null,
  ];
  return parts.filter(Boolean).join(" · ");
}
