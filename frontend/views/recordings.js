import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { RecordingRow } from "./recording_row.js";

/**
 * @import { Recording } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const PAGE = 20;

/** A person's recordings, newest first; new ones and changes appear by themselves. */
export class Recordings {
  #visit;
  #username;
  #abort = new AbortController();
  /** @type {Map<string, RecordingRow>} */
  #rows = new Map();
  #list = el("ul", { class: "recordings", testid: "recordings" });
  #empty = el("p", { class: "empty-list" }, "No recordings yet. Every stream is kept here.");
  #older = button({ class: "small", testid: "older", hidden: true }, "Show older");

  /**
   * @param {Visit} visit
   * @param {string} username
   * @param {{ heading: string }} words
   */
  constructor(visit, username, { heading }) {
    this.#visit = visit;
    this.#username = username;
    this.#empty.hidden = true;
    this.element = el(
      "section",
      { class: "recordings-panel", "aria-label": heading },
      el("h2", {}, heading),
      this.#list,
      this.#empty,
      this.#older,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { presence } = this.#visit;
    const onRecording = (/** @type {CustomEvent} */ { detail }) => this.#take(detail);
    presence.addEventListener("recording", onRecording, { signal });
    presence.addEventListener("snapshot", () => this.#load(), { signal });
    this.#older.addEventListener("click", () => this.#load(this.#oldest));
    this.#load();
  }

  close() {
    this.#abort.abort();
    for (const row of this.#rows.values()) row.close();
  }

  /** @param {string | null} [before] */
  async #load(before = null) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (before) query.set("before", before);
    const path = `/api/users/${encodeURIComponent(this.#username)}/recordings?${query}`;
    try {
      const recordings = await this.#visit.api.get(path);
      if (this.#abort.signal.aborted) return;
      for (const recording of recordings) this.#put(recording);
      if (before || this.#rows.size <= recordings.length) {
        this.#older.hidden = recordings.length < PAGE;
      }
      this.#arrange();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!this.#abort.signal.aborted) this.#visit.notice.show(error.message);
    }
  }

  get #oldest() {
    return this.#sorted.at(-1)?.recording.id ?? null;
  }

  get #sorted() {
    const time = (/** @type {RecordingRow} */ row) => Date.parse(row.recording.started_at);
    return [...this.#rows.values()].sort((a, b) => time(b) - time(a));
  }

  /** @param {{ recording: Recording, removed: boolean }} news */
  #take({ recording, removed }) {
    if (recording.username !== this.#username) return;
    const row = this.#rows.get(recording.id);
    if (removed) return row && this.#remove(row);
    this.#put(recording);
    this.#arrange();
  }

  /** @param {Recording} recording */
  #put(recording) {
    const row = this.#rows.get(recording.id);
    if (row) return row.set(recording);
    this.#rows.set(recording.id, this.#makeRow(recording));
  }

  /** @param {Recording} recording */
  #makeRow(recording) {
    const row = new RecordingRow(this.#visit, recording);
    row.addEventListener("play", () => this.#pauseOthers(row));
    row.addEventListener("gone", () => this.#remove(row));
    return row;
  }

  /** @param {RecordingRow} playing */
  #pauseOthers(playing) {
    for (const row of this.#rows.values()) if (row !== playing) row.pause();
  }

  /** @param {RecordingRow} row */
  #remove(row) {
    row.close();
    this.#rows.delete(row.recording.id);
    this.#arrange();
  }

  /** Put the rows in order without touching those in place: a moved one would lose focus. */
  #arrange() {
    const wanted = this.#sorted.map((row) => row.element);
    for (const row of this.#list.querySelectorAll("li")) if (!wanted.includes(row)) row.remove();
    wanted.forEach((element, i) => {
      if (this.#list.children[i] !== element) this.#list.insertBefore(element, this.#list.children[i]);
    });
    this.#empty.hidden = wanted.length > 0;
  }
}
