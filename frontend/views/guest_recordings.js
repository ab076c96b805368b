import { ApiError } from "../api.js";
import { el } from "../dom.js";
import { namesOf } from "../player.js";
import { isKept } from "../recording_words.js";
import { words, writeMoment } from "../words.js";
import { KeyedList } from "./keyed_list.js";

/**
 * @import { Api, Recording } from "../api.js"
 * @import { OpenLink } from "../guest.js"
 * @import { Listener } from "../listener.js"
 * @import { Presence } from "../presence.js"
 * @typedef {{ api: Api, link: OpenLink, listener: Listener, presence: Presence }} Parts
 */

const SHOWN = 100;

/** The recordings that a link includes, newest first, with the browser's own player. */
export class GuestRecordings {
  #visit;
  #abort = new AbortController();
  #turn = 0;
  /** @type {Map<string, Recording>} */
  #recordings = new Map();
  #rows = el("ul", { class: "guest-recordings", testid: "recordings" });
  #list = new KeyedList(this.#rows, (id) => this.#row(id));

  /** @param {Parts} visit */
  constructor(visit) {
    this.#visit = visit;
    const heading = words.links.recordingsOf(visit.link.username);
    this.element = el("section", { "aria-label": heading, hidden: true }, el("h2", {}, heading), this.#rows);
  }

  start() {
    const { signal } = this.#abort;
    const { presence, listener } = this.#visit;
    for (const news of ["snapshot", "recording"]) {
      presence.addEventListener(news, () => this.#load(), { signal });
    }
    listener.addEventListener("change", () => listener.phase !== "off" && this.#pause(null), { signal });
    this.#rows.addEventListener("play", ({ target }) => this.#begin(target), { capture: true });
  }

  close() {
    this.#abort.abort();
    this.#pause(null);
    this.#list.close();
  }

  async #load() {
    const turn = ++this.#turn;
    const { api, link } = this.#visit;
    let found;
    try {
      found = await api.get(`/api/users/${link.username}/recordings?limit=${SHOWN}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return; // asked again with the next snapshot
    }
    if (turn !== this.#turn || this.#abort.signal.aborted) return;
    const kept = found.filter(isKept);
    this.#recordings = new Map(kept.map((/** @type {Recording} */ each) => [each.id, each]));
    this.#list.show([...this.#recordings.keys()]);
    this.element.hidden = kept.length === 0;
  }

  /**
   * One sound at a time.
   * @param {EventTarget | null} audio
   */
  #begin(audio) {
    this.#pause(audio);
    this.#visit.listener.stop();
  }

  /** @param {EventTarget | null} but */
  #pause(but) {
    for (const audio of this.#rows.querySelectorAll("audio")) if (audio !== but) audio.pause();
  }

  /** @param {string} id */
  #row(id) {
    const recording = /** @type {Recording} */ (this.#recordings.get(id));
    const path = `/api/recordings/${encodeURIComponent(id)}/audio?link=${this.#visit.link.id}`;
    const name = namesOf([...this.#recordings.values()]).get(id) ?? "";
    const audio = el(
      "audio",
      { controls: true, preload: "none", "aria-label": name },
      recording.formats.includes("small") ? el("source", { src: `${path}&format=small` }) : null,
      el("source", { src: path }),
    );
    const when = recording.title ? writeMoment(recording.started_at) : "";
    const what = el("span", { class: "what" }, el("span", {}, recording.title || name), el("span", { class: "hint" }, when));
    return { element: el("li", { class: "row between", testid: `recording-${id}` }, what, audio) };
  }
}
