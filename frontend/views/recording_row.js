import { button, el, icon, link } from "../dom.js";
import { titleOf } from "../player.js";
import { describe, isKept, whyGone } from "../recording_words.js";
import { words, writeMoment } from "../words.js";
import { Waveform } from "./waveform.js";

/**
 * @import { Recording } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

/**
 * One recording in a list: play, seek, download and, for its owner, delete and undo.
 *
 * A deleted one says why it went. Dispatches `change` with what the server says of it.
 */
export class RecordingRow extends EventTarget {
  #visit;
  #abort = new AbortController();
  #play = button({ class: "round", testid: "play" });
  #title;
  #when = el("time", { class: "hint" });
  #about = el("span", { class: "about hint" });
  #download = el("a", { class: "button quiet icon-only", role: "link", testid: "download" }, icon("download"));
  #delete = button({ class: "quiet icon-only", testid: "delete" }, icon("trash"));
  #undo = button({ class: "small", testid: "undo" }, words.common.undo);
  #tools;
  #waveform = new Waveform();
  #isCurrent = false;
  #name = "";

  /**
   * @param {Visit} visit
   * @param {Recording} recording
   */
  constructor(visit, recording) {
    super();
    this.#visit = visit;
    this.recording = recording;
    this.#title = link(`/r/${encodeURIComponent(recording.id)}`, { class: "title" });
    this.#when.dateTime = recording.started_at;
    this.#tools = el("div", { class: "tools" }, this.#download, this.#delete, this.#undo);
    this.element = el(
      "li",
      { class: "recording", testid: `recording-${recording.id}` },
      this.#play,
      el("div", { class: "what" }, this.#title, this.#when, this.#about),
      this.#waveform.element,
      this.#tools,
    );
    this.#listen();
    this.set(recording);
  }

  /** Whether it can be played. */
  get #kept() {
    return isKept(this.recording);
  }

  get #called() {
    return this.#name || titleOf(this.recording);
  }

  get #path() {
    return `/api/recordings/${encodeURIComponent(this.recording.id)}`;
  }

  /**
   * Call it what tells it from the other rows.
   * @param {string} name
   */
  call(name) {
    if (name === this.#name) return;
    this.#name = name;
    this.set(this.recording);
  }

  /**
   * Show the recording as it is now.
   * @param {Recording} recording
   */
  set(recording) {
    if (recording.title !== this.recording.title) this.#name = "";
    this.recording = recording;
    const title = this.#called;
    const kept = this.#kept;
    const mine = recording.username === this.#visit.username;
    const gone = recording.state === "deleted";
    this.element.dataset.state = recording.state;
    this.#title.textContent = recording.title || title;
    this.#when.textContent = recording.title ? writeMoment(recording.started_at) : "";
    this.#waveform.label = words.recordings.positionIn(title);
    this.#waveform.set(recording.peaks, recording.duration_s, { enabled: kept });
    for (const part of [this.#play, this.#waveform.element]) part.hidden = gone;
    this.#play.disabled = !kept;
    name(this.#download, words.recordings.download(title));
    if (kept) this.#download.setAttribute("href", `${this.#path}/audio?download=1`);
    else this.#download.removeAttribute("href");
    this.#download.setAttribute("aria-disabled", String(!kept));
    this.#download.hidden = gone;
    name(this.#delete, words.recordings.delete(title));
    this.#delete.hidden = !mine || gone;
    this.#delete.disabled = !kept;
    this.#undo.hidden = !mine || recording.reason !== "owner";
    this.#undo.setAttribute("aria-label", words.recordings.undoDelete(title));
    this.#renderPlaying();
  }

  close() {
    this.#abort.abort();
    this.#waveform.close();
  }

  #listen() {
    const { signal } = this.#abort;
    const { player, positions } = this.#visit;
    player.addEventListener("change", () => this.#renderPlaying(), { signal });
    player.addEventListener("time", () => this.#isCurrent && this.#renderPosition(), { signal });
    this.#play.addEventListener("click", () => {
      if (player.recording?.id === this.recording.id) player.toggle(this.recording);
      else player.play(this.recording, { at_s: positions.of(this.recording.id) });
    });
    const onSeek = (/** @type {CustomEvent<number>} */ { detail }) => this.#seek(detail);
    this.#waveform.addEventListener("seek", onSeek);
    this.#delete.addEventListener("click", () => this.#remove());
    this.#undo.addEventListener("click", () => this.#restore());
  }

  /**
   * Go there; if something else plays, the next time that this one does.
   * @param {number} position s
   */
  #seek(position) {
    const { player, positions } = this.#visit;
    if (this.#isCurrent) return player.seek(position);
    positions.set(this.recording.id, position);
    this.#renderPosition();
  }

  #renderPlaying() {
    const { player } = this.#visit;
    this.#isCurrent = player.recording?.id === this.recording.id;
    const playing = this.#isCurrent && !player.paused;
    const say = playing ? words.listen.pause : words.listen.play;
    this.element.classList.toggle("playing", playing);
    this.#play.replaceChildren(icon(playing ? "pause" : "play"));
    this.#play.setAttribute("aria-label", say(this.#called));
    this.#renderPosition();
  }

  #renderPosition() {
    const { player, positions } = this.#visit;
    const { recording } = this;
    const position = this.#isCurrent ? player.position_s : positions.of(recording.id);
    this.#waveform.move(position);
    this.#about.textContent =
      recording.state === "deleted"
        ? whyGone(recording, this.#visit.username)
        : describe(recording, position);
  }

  async #remove() {
    if (!(await this.#visit.attempt(() => this.#visit.api.delete(this.#path)))) return;
    this.#tell({ ...this.recording, state: "deleted", reason: "owner" });
    this.#undo.focus();
  }

  async #restore() {
    await this.#visit.attempt(async () => {
      this.#tell(await this.#visit.api.post(`${this.#path}/restore`));
      this.#play.focus();
    });
  }

  /** @param {Recording} recording */
  #tell(recording) {
    this.dispatchEvent(new CustomEvent("change", { detail: recording }));
  }
}

/**
 * @param {HTMLElement} element
 * @param {string} label
 */
function name(element, label) {
  element.setAttribute("aria-label", label);
  element.title = label;
}
