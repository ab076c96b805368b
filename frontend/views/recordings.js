import { ApiError } from "../api.js";
import { button, el, icon } from "../dom.js";
import { namesOf, titleOf } from "../player.js";
import { words, writeMoment } from "../words.js";
import { KeyedList } from "./keyed_list.js";
import { RecordingRow } from "./recording_row.js";

/**
 * @import { Recording } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const PAGE = 20;
const MOST = 200;
const FILTER_FROM = 10;
const GONE_SHOWN_MS = 30_000; // as long as the owner can undo it

/**
 * A person's recordings, newest first; new ones and changes appear by themselves, older ones as
 * one scrolls there, and all of them once one looks for something.
 */
export class Recordings {
  #visit;
  #username;
  #abort = new AbortController();
  /** @type {Map<string, Recording>} */
  #known = new Map();
  /** @type {Map<string, number>} when to forget those that are deleted: timers */
  #going = new Map();
  #isComplete = false;
  #isLoading = false;
  #list = el("ul", { class: "recordings", testid: "recordings" });
  #rows = new KeyedList(this.#list, (id) => this.#makeRow(id));
  #empty = el("p", { class: "empty-list", role: "status" });
  #older = button({ class: "small", testid: "older", hidden: true }, words.recordings.older);
  #find = el("input", {
    type: "search",
    testid: "find-recording",
    placeholder: words.recordings.find,
    "aria-label": words.recordings.find,
    autocomplete: "off",
  });
  #findField = el("label", { class: "filter", hidden: true }, icon("search"), this.#find);
  #sight = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.#loadOlder(), {
    rootMargin: "400px",
  });

  /**
   * @param {Visit} visit
   * @param {string} username
   * @param {{ heading: string }} words
   */
  constructor(visit, username, { heading }) {
    this.#visit = visit;
    this.#username = username;
    this.element = el(
      "section",
      { class: "recordings-panel", "aria-label": heading },
      el("div", { class: "row between" }, el("h2", {}, heading), this.#findField),
      this.#list,
      this.#empty,
      this.#older,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { presence } = this.#visit;
    const onRecording = (/** @type {CustomEvent} */ { detail }) => this.#take(detail.recording);
    presence.addEventListener("recording", onRecording, { signal });
    this.#older.addEventListener("click", () => this.#loadOlder());
    this.#find.addEventListener("input", () => this.#search());
    presence.keepUp(() => this.#load(), signal);
  }

  close() {
    this.#abort.abort();
    this.#sight.disconnect();
    for (const timer of this.#going.values()) clearTimeout(timer);
    this.#rows.close();
  }

  /** The oldest that the server listed; one that has just been deleted does as well. */
  get #oldest() {
    return [...this.#known.keys()].sort()[0];
  }

  async #loadOlder() {
    if (this.#isLoading || this.#isComplete || !this.#known.size) return;
    await this.#load(this.#oldest);
  }

  /** Look through all of them: the older ones are loaded first. */
  async #search() {
    this.#render();
    while (this.#find.value.trim() && !this.#isComplete && !this.#isLoading) {
      if (!(await this.#load(this.#oldest, MOST))) return;
    }
  }

  /**
   * Load a page, and tell whether that went well.
   * @param {string} [before]
   * @param {number} [limit]
   */
  async #load(before, limit = PAGE) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (before) query.set("before", before);
    const path = `/api/users/${encodeURIComponent(this.#username)}/recordings?${query}`;
    this.#isLoading = true;
    try {
      const recordings = await this.#visit.api.get(path);
      if (this.#abort.signal.aborted) return false;
      for (const recording of recordings) this.#know(recording);
      if (before || this.#known.size <= recordings.length) {
        this.#isComplete = recordings.length < limit;
      }
      this.#render();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!this.#abort.signal.aborted) this.#visit.notice.complain(error.message);
      return false;
    } finally {
      this.#isLoading = false;
      this.#watch();
    }
  }

  /** Load on when the end of the list is near; an observer only tells once that it came. */
  #watch() {
    this.#sight.disconnect();
    if (!this.#older.hidden) this.#sight.observe(this.#older);
  }

  /** @param {Recording} recording */
  #take(recording) {
    if (recording.username !== this.#username) return;
    if (recording.state === "deleted" && !this.#known.has(recording.id)) return;
    this.#know(recording);
    this.#render();
  }

  /** @param {Recording} recording */
  #know(recording) {
    const { id, state } = recording;
    clearTimeout(this.#going.get(id));
    this.#going.delete(id);
    this.#known.set(id, recording);
    this.#rows.row(id)?.set(recording);
    if (state !== "deleted") return;
    const forget = () => {
      this.#known.delete(id);
      this.#render();
    };
    this.#going.set(id, setTimeout(forget, GONE_SHOWN_MS));
  }

  /** @param {string} id */
  #makeRow(id) {
    const row = new RecordingRow(this.#visit, /** @type {Recording} */ (this.#known.get(id)));
    const onChange = (/** @type {CustomEvent<Recording>} */ { detail }) => this.#take(detail);
    row.addEventListener("change", onChange);
    return row;
  }

  #render() {
    const wanted = this.#find.value.trim().toLowerCase();
    const all = [...this.#known.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
    const shown = all.filter((recording) => searchable(recording).includes(wanted));
    this.#rows.show(shown.map(({ id }) => id));
    const names = namesOf(all);
    for (const row of this.#rows.rows) row.call(names.get(row.recording.id) ?? "");
    this.#findField.hidden = this.#isComplete && all.length < FILTER_FROM && !wanted;
    this.#older.hidden = this.#isComplete || !all.length || Boolean(wanted);
    this.#empty.textContent = wanted
      ? words.recordings.found(shown.length)
      : all.length
        ? ""
        : words.recordings.none;
  }
}

/** @param {Recording} recording */
function searchable(recording) {
  return `${titleOf(recording)} ${writeMoment(recording.started_at)}`.toLowerCase();
}
