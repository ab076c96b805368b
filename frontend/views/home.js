import { el } from "../dom.js";
import { words } from "../words.js";
import { AccountPanel } from "./account_panel.js";
import { FriendsPanel } from "./friends_panel.js";
import { Recordings } from "./recordings.js";
import { StreamCard } from "./stream_card.js";

/** @import { Visit } from "../visit.js" */

/** The own page: the stream, the friends, the recordings. */
export class HomeView {
  #parts;

  title = words.shell.homeTitle;

  /**
   * @param {Visit} visit
   * @param {{ onAccountDeleted: () => void }} calls
   */
  constructor(visit, { onAccountDeleted }) {
    const stream = new StreamCard(visit);
    const friends = new FriendsPanel(visit);
    const recordings = new Recordings(visit, visit.username, { heading: "Your recordings" });
    const account = new AccountPanel(visit, { onDeleted: onAccountDeleted });
    this.#parts = [stream, friends, recordings, account];
    this.element = el(
      "div",
      { class: "home" },
      stream.element,
      friends.element,
      recordings.element,
      el("footer", {}, account.element),
    );
  }

  start() {
    for (const part of this.#parts) part.start();
  }

  close() {
    for (const part of this.#parts) part.close();
  }
}
