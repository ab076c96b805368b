import { button, el } from "../dom.js";
import { words } from "../words.js";
import { AccountPanel } from "./account_panel.js";
import { FriendsPanel } from "./friends_panel.js";
import { LinksPanel } from "./links_panel.js";
import { OnAir } from "./on_air.js";
import { Recordings } from "./recordings.js";
import { StreamCard } from "./stream_card.js";

/** @import { Visit } from "../visit.js" */

/** The own page, live first: who is on air, the own stream, the friends, the recordings. */
export class HomeView {
  #visit;
  #parts;
  #abort = new AbortController();
  #friendsTab;

  title = words.listen.home;

  /**
   * @param {Visit} visit
   * @param {{ onAccountDeleted: () => void }} calls
   */
  constructor(visit, { onAccountDeleted }) {
    this.#visit = visit;
    const onAir = new OnAir(visit);
    const stream = new StreamCard(visit);
    const friends = new FriendsPanel(visit);
    const links = new LinksPanel(visit);
    const recordings = new Recordings(visit, visit.username, { heading: words.listen.yourRecordings });
    const account = new AccountPanel(visit, { onDeleted: onAccountDeleted });
    this.#parts = [onAir, stream, friends, links, recordings, account];
    this.#friendsTab = tab("friends", friends.element);
    const tabs = el(
      "nav",
      { class: "tabs", "aria-label": words.listen.onPage },
      tab("onAir", onAir.element),
      tab("stream", stream.element),
      this.#friendsTab,
      tab("recordings", recordings.element),
    );
    this.element = el(
      "div",
      { class: "home" },
      tabs,
      onAir.element,
      stream.element,
      el("div", { class: "beside" }, friends.element, links.element),
      recordings.element,
      el("footer", {}, account.element),
    );
  }

  start() {
    const { friends } = this.#visit;
    friends.addEventListener("change", () => this.#count(), { signal: this.#abort.signal });
    this.#count();
    for (const part of this.#parts) part.start();
  }

  close() {
    this.#abort.abort();
    for (const part of this.#parts) part.close();
  }

  #count() {
    const requests = this.#visit.friends.incoming.length;
    const { friends } = words.listen.tabs;
    this.#friendsTab.replaceChildren(friends);
    if (requests) this.#friendsTab.append(el("span", { class: "count" }, String(requests)));
    const label = requests ? `${friends}, ${words.friends.requests(requests)}` : friends;
    this.#friendsTab.setAttribute("aria-label", label);
  }
}

/**
 * A button that leads to a part of the page: on a phone they lie below each other.
 * @param {keyof typeof words.listen.tabs} name
 * @param {HTMLElement} panel
 */
function tab(name, panel) {
  const go = () => {
    panel.scrollIntoView();
    const heading = /** @type {HTMLElement | null} */ (panel.querySelector("h1, h2"));
    if (!heading) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  };
  return button({ class: "quiet", testid: `tab-${name}`, on: { click: go } }, words.listen.tabs[name]);
}
