import { button, el } from "../dom.js";
import { words } from "../words.js";
import { confirm } from "./confirm.js";
import { ListenCard } from "./listen_card.js";
import { Recordings } from "./recordings.js";

/**
 * @import { Stream } from "../api.js"
 * @import { Visit } from "../visit.js"
 * @typedef {"mine" | "friend" | "blocked" | "asked" | "asks" | "stranger"} Relation
 */

/** A person's page: their stream and recordings, or the way to become friends. Changes live. */
export class ProfileView {
  #visit;
  #username;
  #abort = new AbortController();
  /** @type {(ListenCard | Recordings)[]} */
  #parts = [];
  #turn = 0;
  /** @type {Relation | null} */
  #shown = null;

  element = el("div", { class: "profile" });
  title;

  /**
   * @param {Visit} visit
   * @param {string} username
   */
  constructor(visit, username) {
    this.#visit = visit;
    this.#username = username;
    this.title = username;
  }

  start() {
    const { signal } = this.#abort;
    const { friends } = this.#visit;
    friends.addEventListener("change", () => this.#load(), { signal });
    this.#load();
  }

  close() {
    this.#abort.abort();
    this.#clear();
  }

  async #load() {
    const turn = ++this.#turn;
    const path = `/api/users/${encodeURIComponent(this.#username)}`;
    await this.#visit.attempt(async () => {
      try {
        const { api } = this.#visit;
        const [person, blocks] = await Promise.all([api.get(path), api.get("/api/blocks")]);
        if (turn !== this.#turn || this.#abort.signal.aborted) return;
        this.#show(person, blocks.includes(this.#username));
      } catch (error) {
        if (error.status !== 404) throw error;
        this.#clear();
        this.#place(el("h1", { class: "lead" }, error.message));
      }
    });
  }

  /**
   * @param {{ friend: boolean, stream: Stream | null }} person
   * @param {boolean} blocked
   */
  #show({ friend, stream }, blocked) {
    const relation = this.#relation(friend, blocked);
    if (friend) this.#visit.presence.learn(this.#username, stream);
    if (relation === this.#shown) return;
    this.#clear();
    this.#shown = relation;
    if (relation === "mine" || relation === "friend") this.#showNear(relation === "mine");
    else this.#showFar(relation);
  }

  /**
   * @param {boolean} friend
   * @param {boolean} blocked
   * @returns {Relation}
   */
  #relation(friend, blocked) {
    const { friends, username } = this.#visit;
    if (this.#username === username) return "mine";
    if (friend) return "friend";
    if (blocked) return "blocked";
    if (friends.outgoing.includes(this.#username)) return "asked";
    return friends.incoming.includes(this.#username) ? "asks" : "stranger";
  }

  /** @param {boolean} mine */
  #showNear(mine) {
    const listen = new ListenCard(this.#visit, this.#username, { mine });
    const heading = mine ? words.listen.yourRecordings : words.listen.recordings;
    const recordings = new Recordings(this.#visit, this.#username, { heading });
    this.#parts = [listen, recordings];
    this.#place(listen.element, recordings.element, ...(mine ? [] : [this.#blockButton()]));
    for (const part of this.#parts) part.start();
  }

  /** @param {"blocked" | "asked" | "asks" | "stranger"} relation */
  #showFar(relation) {
    const name = this.#username;
    const { friends, api } = this.#visit;
    const say = words.friends;
    const press = (/** @type {() => unknown} */ action) => ({ click: () => this.#change(action) });
    const [text, buttons] = {
      blocked: [
        say.blockedPerson(name),
        [primary("unblock", say.unblock(name), press(() => api.delete(`/api/blocks/${name}`)))],
      ],
      asked: [
        say.youAsked(name),
        [plain(`withdraw-${name}`, say.withdrawWhom(name), press(() => friends.remove(name)))],
      ],
      asks: [
        say.wantsToBe(name),
        [
          primary(`accept-${name}`, say.acceptWhom(name), press(() => friends.add(name))),
          plain(`decline-${name}`, say.declineWhom(name), press(() => friends.remove(name))),
        ],
      ],
      stranger: [say.notFriends(name), [primary("ask", say.askWhom(name), press(() => friends.add(name)))]],
    }[relation];
    const card = el(
      "section",
      { class: "card stranger", data: { relation } },
      el("h1", {}, name),
      el("p", { class: "lead" }, /** @type {string} */ (text)),
      el("div", { class: "row actions" }, .../** @type {HTMLElement[]} */ (buttons)),
    );
    this.#place(card, ...(relation === "blocked" ? [] : [this.#blockButton()]));
  }

  #blockButton() {
    const name = this.#username;
    const block = async () => {
      const sure = await confirm({
        question: words.friends.blockQuestion(name),
        consequence: words.friends.blockConsequence(name),
        yes: words.friends.blockYes,
      });
      if (sure) this.#change(() => this.#visit.api.put(`/api/blocks/${name}`));
    };
    return el(
      "footer",
      {},
      button({ class: "quiet small", testid: "block", on: { click: block } }, words.friends.block(name)),
    );
  }

  /**
   * Do it and show what has become of it, even where nobody is told.
   * @param {() => unknown} action
   */
  async #change(action) {
    if (!(await this.#visit.attempt(action))) return;
    await this.#visit.attempt(() => this.#visit.friends.refresh());
  }

  /** @param {Node[]} elements */
  #place(...elements) {
    this.element.replaceChildren(...elements);
  }

  #clear() {
    for (const part of this.#parts) part.close();
    this.#parts = [];
    this.#shown = null;
  }
}

/**
 * @param {string} testid
 * @param {string} text
 * @param {{ click: () => unknown }} on
 */
function primary(testid, text, on) {
  return button({ class: "primary", testid, on }, text);
}

/**
 * @param {string} testid
 * @param {string} text
 * @param {{ click: () => unknown }} on
 */
function plain(testid, text, on) {
  return button({ testid, on }, text);
}
