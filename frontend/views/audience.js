import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { words } from "../words.js";
import { confirm } from "./confirm.js";
import { KeyedList } from "./keyed_list.js";

/**
 * @import { Listening } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const say = words.links;

/** Who listens to the user's stream, by name or link, each with Remove; hidden while nobody does. */
export class Audience {
  #visit;
  #abort = new AbortController();
  /** @type {Map<string, Listening>} */
  #people = new Map();
  #rows = el("ul", { class: "people", testid: "audience", "aria-label": say.audience });
  #list = new KeyedList(this.#rows, (key) => this.#row(key));

  element = el("section", { class: "audience", hidden: true }, el("h2", {}, say.audience), this.#rows);

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
  }

  start() {
    const { signal } = this.#abort;
    const { presence, publisher, username } = this.#visit;
    const take = (/** @type {CustomEvent<{ listeners: Listening[] }>} */ { detail }) =>
      this.#show(detail.listeners);
    presence.addEventListener("listeners", take, { signal });
    presence.addEventListener("snapshot", () => this.#load(), { signal });
    const follow = (/** @type {CustomEvent} */ { detail }) => {
      if (detail.username === username && !detail.stream) this.#show([]);
    };
    presence.addEventListener("stream", follow, { signal });
    // After Stop nobody listens, even if the server cannot be told yet.
    const leave = () => publisher.state === "off" && this.#people.size && this.#show([]);
    publisher.addEventListener("change", leave, { signal });
    this.#load();
  }

  close() {
    this.#abort.abort();
    this.#list.close();
  }

  /** Ask who is there already; changes are told. */
  async #load() {
    if (!this.#visit.presence.streamOf(this.#visit.username)) return this.#show([]);
    try {
      const people = await this.#visit.api.get("/api/stream/listeners");
      if (!this.#abort.signal.aborted) this.#show(people);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // not live, or told at the next change
    }
  }

  /** @param {Listening[]} people */
  #show(people) {
    this.#people = new Map(people.map((each) => [each.username ?? each.sessions[0], each]));
    this.#list.show([...this.#people.keys()]);
    this.element.hidden = people.length === 0;
  }

  /** @param {string} key */
  #row(key) {
    const person = this.#people.get(key);
    const name = person ? nameOf(person) : key;
    const remove = button(
      {
        class: "small quiet",
        testid: `remove-listener-${key}`,
        "aria-label": say.removeWhom(name),
        on: { click: () => this.#remove(key, name) },
      },
      words.common.remove,
    );
    return { element: el("li", { class: "row between" }, el("span", {}, name), remove) };
  }

  /**
   * @param {string} key
   * @param {string} name
   */
  async #remove(key, name) {
    const isGuest = this.#people.get(key)?.username === null;
    const sure = await confirm({
      question: say.removeQuestion(name),
      consequence: isGuest ? say.removeGuestConsequence : say.removeConsequence,
      yes: words.common.remove,
    });
    const session = this.#people.get(key)?.sessions[0];
    if (!sure || !session) return;
    const path = `/whep/sessions/${encodeURIComponent(session)}`;
    if (await this.#visit.attempt(() => this.#visit.api.delete(path))) {
      this.#visit.notice.show(say.removed(name));
    }
  }
}

/** @param {Listening} person */
function nameOf({ username, label }) {
  return username ?? (label ? say.guestOf(label) : say.guest);
}
