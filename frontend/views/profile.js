import { button, el } from "../dom.js";
import { confirm } from "./confirm.js";
import { ListenCard } from "./listen_card.js";
import { Recordings } from "./recordings.js";

/**
 * @import { Stream } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

/** A person's page: their stream and recordings, or the way to become friends. */
export class ProfileView {
  #visit;
  #username;
  #abort = new AbortController();
  /** @type {(ListenCard | Recordings)[]} */
  #parts = [];
  #turn = 0;
  /** @type {"near" | "stranger" | "blocked" | null} */
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
        this.#show({ ...person, blocked: blocks.includes(this.#username) });
      } catch (error) {
        if (error.status !== 404) throw error;
        this.#clear();
        this.#place(el("p", { class: "lead" }, error.message));
      }
    });
  }

  /** @param {{ friend: boolean, stream: Stream | null, blocked: boolean }} person */
  #show({ friend, stream, blocked }) {
    const mine = this.#username === this.#visit.username;
    const near = friend || mine;
    if (near) this.#visit.presence.learn(this.#username, stream);
    const wanted = near ? "near" : blocked ? "blocked" : "stranger";
    if (wanted === this.#shown) return;
    this.#clear();
    this.#shown = wanted;
    if (near) this.#showNear(mine);
    else if (blocked) this.#showBlocked();
    else this.#showStranger();
  }

  /** @param {boolean} mine */
  #showNear(mine) {
    const listen = new ListenCard(this.#visit, this.#username, { mine });
    const heading = mine ? "Your recordings" : "Recordings";
    const recordings = new Recordings(this.#visit, this.#username, { heading });
    this.#parts = [listen, recordings];
    this.#place(listen.element, recordings.element, ...(mine ? [] : [this.#blockButton()]));
    for (const part of this.#parts) part.start();
  }

  #showStranger() {
    const { friends } = this.#visit;
    const name = this.#username;
    const asked = friends.outgoing.includes(name);
    const text = asked
      ? `You sent ${name} a friend request. You can listen here once they accept.`
      : `You and ${name} are not friends. Only friends can listen to each other.`;
    const ask = async () => {
      if (await this.#visit.attempt(() => friends.add(name))) {
        this.#shown = null;
        this.#load();
      }
    };
    const words = friends.incoming.includes(name) ? `Accept ${name}'s request` : `Ask ${name}`;
    this.#place(
      el(
        "section",
        { class: "card stranger" },
        el("h1", {}, name),
        el("p", { class: "lead" }, text),
        asked ? null : button({ class: "primary", testid: "ask", on: { click: ask } }, words),
      ),
      this.#blockButton(),
    );
  }

  #showBlocked() {
    const name = this.#username;
    const unblock = () => this.#change(() => this.#visit.api.delete(`/api/blocks/${name}`));
    this.#place(
      el(
        "section",
        { class: "card stranger" },
        el("h1", {}, name),
        el("p", { class: "lead" }, `You have blocked ${name}, who cannot send you requests.`),
        button({ class: "primary", testid: "unblock", on: { click: unblock } }, `Unblock ${name}`),
      ),
    );
  }

  #blockButton() {
    const name = this.#username;
    const block = async () => {
      const sure = await confirm({
        question: `Block ${name}?`,
        consequence: `You are no longer friends then. ${name} is not told, and cannot ask you again.`,
        yes: "Block",
      });
      if (sure) this.#change(() => this.#visit.api.put(`/api/blocks/${name}`));
    };
    return el(
      "footer",
      {},
      button({ class: "quiet small", testid: "block", on: { click: block } }, `Block ${name}`),
    );
  }

  /** @param {() => unknown} action */
  async #change(action) {
    if (!(await this.#visit.attempt(action))) return;
    this.#shown = null;
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
