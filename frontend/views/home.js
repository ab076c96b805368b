import { button, el } from "../dom.js";
import { confirm } from "./confirm.js";
import { FriendsPanel } from "./friends_panel.js";
import { Recordings } from "./recordings.js";
import { StreamCard } from "./stream_card.js";

/** @import { Visit } from "../visit.js" */

/** The own page: the stream, the friends, the recordings. */
export class HomeView {
  #visit;
  #onAccountDeleted;
  #parts;

  /**
   * @param {Visit} visit
   * @param {{ onAccountDeleted: () => void }} calls
   */
  constructor(visit, { onAccountDeleted }) {
    this.#visit = visit;
    this.#onAccountDeleted = onAccountDeleted;
    const stream = new StreamCard(visit);
    const friends = new FriendsPanel(visit);
    const recordings = new Recordings(visit, visit.username, { heading: "Your recordings" });
    this.#parts = [stream, friends, recordings];
    const leave = button(
      { class: "quiet small", testid: "delete-account", on: { click: () => this.#deleteAccount() } },
      "Delete account",
    );
    this.element = el(
      "div",
      { class: "home" },
      stream.element,
      friends.element,
      recordings.element,
      el("footer", {}, leave),
    );
  }

  start() {
    for (const part of this.#parts) part.start();
  }

  close() {
    for (const part of this.#parts) part.close();
  }

  async #deleteAccount() {
    const sure = await confirm({
      question: "Delete your account?",
      consequence: "This permanently deletes your name, your friendships and all your recordings.",
      yes: "Delete account",
    });
    if (!sure) return;
    if (await this.#visit.attempt(() => this.#visit.api.delete("/api/me"))) this.#onAccountDeleted();
  }
}
