import { button, el, icon, link } from "../dom.js";
import { confirm } from "./confirm.js";
import { Timer } from "./timer.js";

/** @import { Visit } from "../visit.js" */

const ORDER = ["live", "reconnecting", "connecting", "off"];

/** Friends with their live state, live ones first; requests; adding a friend. */
export class FriendsPanel {
  #visit;
  #abort = new AbortController();
  /** @type {Map<string, FriendRow>} */
  #rows = new Map();
  #name = el("input", {
    testid: "friend-add-name",
    "aria-label": "Friend's name",
    placeholder: "Friend's name",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 32,
  });
  #form = el(
    "form",
    { class: "row add" },
    this.#name,
    button({ type: "submit", testid: "friend-add" }, "Add"),
  );
  #requests = el("ul", { class: "requests", "aria-label": "Requests" });
  #list = el("ul", { class: "friends", testid: "friends" });
  #empty = el("p", { class: "empty-list" }, "No friends yet. Add one by name; they have to accept.");

  element = el(
    "section",
    { class: "card friends-panel", "aria-label": "Friends" },
    el("h2", {}, "Friends"),
    this.#requests,
    this.#list,
    this.#empty,
    this.#form,
  );

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
  }

  start() {
    const { signal } = this.#abort;
    const { friends, presence } = this.#visit;
    friends.addEventListener("change", () => this.#render(), { signal });
    const onStream = (/** @type {CustomEvent} */ { detail }) => this.#renderStream(detail);
    presence.addEventListener("stream", onStream, { signal });
    this.#form.addEventListener("submit", (event) => this.#add(event));
    this.#empty.hidden = true; // until the list is there
    this.#render();
    this.#visit.attempt(() => friends.refresh());
  }

  close() {
    this.#abort.abort();
    for (const row of this.#rows.values()) row.close();
  }

  /** @param {SubmitEvent} event */
  async #add(event) {
    event.preventDefault();
    const name = this.#name.value.trim().toLowerCase();
    if (!name) return this.#name.focus();
    let state;
    const went = await this.#visit.attempt(async () => {
      state = await this.#visit.friends.add(name);
    });
    if (!went) return;
    this.#name.value = "";
    const asked = `Friend request sent to ${name}.`;
    this.#visit.notice.show(state === "friends" ? `You and ${name} are now friends.` : asked);
  }

  #render() {
    const { friends, incoming, outgoing } = this.#visit.friends;
    this.#requests.replaceChildren(
      ...incoming.map((name) => this.#incoming(name)),
      ...outgoing.map((name) => this.#outgoing(name)),
    );
    for (const [name, row] of this.#rows) {
      if (friends.includes(name)) continue;
      row.close();
      this.#rows.delete(name);
    }
    for (const name of friends) {
      if (!this.#rows.has(name)) this.#rows.set(name, new FriendRow(this.#visit, name));
    }
    this.#empty.hidden = friends.length + incoming.length + outgoing.length > 0;
    this.#sort();
  }

  /** @param {{ username: string }} change */
  #renderStream({ username }) {
    const row = this.#rows.get(username);
    if (!row) return;
    row.render();
    this.#sort();
  }

  /** Put the rows in order, unless they are: a moved one would lose focus. */
  #sort() {
    const rank = (/** @type {FriendRow} */ row) => ORDER.indexOf(row.state);
    const rows = [...this.#rows.values()].sort(
      (a, b) => rank(a) - rank(b) || a.username.localeCompare(b.username),
    );
    const wanted = rows.map((row) => row.element);
    const shown = this.#list.children;
    const same = wanted.length === shown.length && wanted.every((row, i) => row === shown[i]);
    if (!same) this.#list.replaceChildren(...wanted);
  }

  /** @param {string} name */
  #incoming(name) {
    const { friends } = this.#visit;
    const accept = () => this.#visit.attempt(() => friends.add(name));
    const decline = () => this.#visit.attempt(() => friends.remove(name));
    return el(
      "li",
      { class: "request", testid: `incoming-${name}` },
      el("span", {}, el("strong", {}, name), " wants to be your friend"),
      el(
        "span",
        { class: "row" },
        button({ class: "small primary", testid: `accept-${name}`, on: { click: accept } }, "Accept"),
        button({ class: "small", testid: `decline-${name}`, on: { click: decline } }, "Decline"),
      ),
    );
  }

  /** @param {string} name */
  #outgoing(name) {
    const withdraw = () => this.#visit.attempt(() => this.#visit.friends.remove(name));
    return el(
      "li",
      { class: "request outgoing", testid: `outgoing-${name}` },
      el("span", {}, "You asked ", el("strong", {}, name)),
      button({ class: "small quiet", testid: `withdraw-${name}`, on: { click: withdraw } }, "Withdraw"),
    );
  }
}

/** One friend: name, live state, time. */
class FriendRow {
  #visit;
  #state = el("span", { class: "state" });
  #timer;

  /**
   * @param {Visit} visit
   * @param {string} username
   */
  constructor(visit, username) {
    this.#visit = visit;
    this.username = username;
    this.#timer = new Timer(visit.clock);
    const remove = button(
      {
        class: "quiet icon-only remove",
        testid: `remove-${username}`,
        "aria-label": `Remove ${username}`,
        title: `Remove ${username}`,
        on: { click: () => this.#remove() },
      },
      icon("close"),
    );
    this.element = el(
      "li",
      { class: "friend", testid: `friend-row-${username}` },
      link(
        `/u/${username}`,
        {},
        el("span", { class: "dot" }),
        el("span", { class: "name" }, username),
        this.#state,
        this.#timer.element,
      ),
      remove,
    );
    this.render();
  }

  get state() {
    return this.#visit.presence.streamOf(this.username)?.state ?? "off";
  }

  render() {
    const stream = this.#visit.presence.streamOf(this.username);
    this.element.dataset.state = this.state;
    this.#state.textContent = this.state;
    this.#timer.set(stream?.started_at ?? null);
    this.#timer.element.hidden = !stream?.started_at;
  }

  close() {
    this.#timer.close();
  }

  async #remove() {
    const sure = await confirm({
      question: `Remove ${this.username}?`,
      consequence: "You will no longer hear each other or share recordings.",
      yes: "Remove",
    });
    if (sure) await this.#visit.attempt(() => this.#visit.friends.remove(this.username));
  }
}
