import { el, link } from "../dom.js";
import { words } from "../words.js";
import { KeyedList } from "./keyed_list.js";
import { ListenButton } from "./listen_button.js";
import { Timer } from "./timer.js";

/** @import { Visit } from "../visit.js" */

const AUDIBLE = ["live", "reconnecting"];

/** Who is on air, with Listen right there; the home view begins with it. */
export class OnAir {
  #visit;
  #abort = new AbortController();
  #list = el("ul", { class: "on-air-list", testid: "on-air-list" });
  #empty = el("p", { class: "hint", testid: "nobody-on-air" }, words.listen.nobodyOnAir);
  /** @type {KeyedList<OnAirRow>} */
  #rows;

  element = el(
    "section",
    { class: "on-air-panel", id: "on-air", "aria-label": words.listen.onAir },
    el("h1", {}, words.listen.onAir),
    this.#list,
    this.#empty,
  );

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#rows = new KeyedList(this.#list, (name) => new OnAirRow(visit, name));
  }

  start() {
    const { signal } = this.#abort;
    const { presence, listener } = this.#visit;
    presence.addEventListener("stream", () => this.#render(), { signal });
    listener.addEventListener("change", () => this.#render(), { signal });
    this.#render();
  }

  close() {
    this.#abort.abort();
    this.#rows.close();
  }

  #render() {
    const { presence, username } = this.#visit;
    const names = presence.streams
      .filter((stream) => stream.username !== username && AUDIBLE.includes(stream.state))
      .map((stream) => stream.username)
      .sort((a, b) => a.localeCompare(b));
    this.#rows.show(names);
    for (const row of this.#rows.rows) row.render();
    this.#empty.hidden = names.length > 0;
  }
}

/** One friend on air. */
class OnAirRow {
  #visit;
  #name;
  #timer;
  #title = el("span", { class: "stream-title" });
  #word = el("span", { class: "hint" });
  #listen;

  /**
   * @param {Visit} visit
   * @param {string} name
   */
  constructor(visit, name) {
    this.#visit = visit;
    this.#name = name;
    this.#timer = new Timer(visit.clock);
    this.#listen = new ListenButton(visit, name, { named: true });
    this.element = el(
      "li",
      { class: "on-air-row", testid: `on-air-${name}` },
      el("span", { class: "dot" }),
      link(
        `/u/${name}`,
        {},
        el("span", { class: "name" }, name),
        this.#title,
        el("span", { class: "hint" }, this.#word, " ", this.#timer.element),
      ),
      this.#listen.element,
    );
  }

  render() {
    const stream = this.#visit.presence.streamOf(this.#name);
    if (!stream) return;
    const here = this.#visit.listener.username === this.#name;
    const state = stream.muted && stream.state === "live" ? "muted" : stream.state;
    this.element.dataset.state = stream.state;
    this.element.classList.toggle("here", here);
    this.#title.textContent = stream.title ?? "";
    this.#word.textContent = words.listen.states[state];
    this.#timer.set(stream.started_at);
    this.#listen.render();
  }

  close() {
    this.#timer.close();
  }
}
