import { button, el, icon, link } from "../dom.js";
import { words } from "../words.js";
import { confirm } from "./confirm.js";
import { Field, accepted, right } from "./field.js";
import { KeyedList } from "./keyed_list.js";
import { Timer } from "./timer.js";

/** @import { Visit } from "../visit.js" */

const ORDER = ["live", "reconnecting", "connecting", "off"];
const FILTERED_FROM = 8; // fewer are seen at once
const OPEN_UP_TO = 3; // more requests begin collapsed

/** Adding a friend; requests; friends with their live state, live ones first, and a filter. */
export class FriendsPanel {
  #visit;
  #abort = new AbortController();
  #name = new Field({
    testid: "friend-add-name",
    label: words.friends.name,
    terse: true,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 32,
  });
  #form = el(
    "form",
    { class: "row add", novalidate: true },
    this.#name.element,
    button({ type: "submit", testid: "friend-add" }, words.friends.add),
  );
  #incoming;
  #outgoing;
  #filter = el("input", {
    type: "search",
    testid: "friend-filter",
    "aria-label": words.friends.find,
    placeholder: words.friends.find,
    autocomplete: "off",
  });
  #filterField = el("label", { class: "filter" }, icon("search"), this.#filter);
  #found = el("p", { class: "empty-list unseen", role: "status" });
  #list = el("ul", { class: "friends", testid: "friends" });
  /** @type {KeyedList<FriendRow>} */
  #rows;
  #empty = el("p", { class: "empty-list" }, words.friends.none);
  #news = el("p", { class: "unseen", role: "status", testid: "friend-news" });
  /** @type {string[] | null} those who have asked so far, once known */
  #asked = null;

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#incoming = new Requests(visit, IncomingRow, "incoming");
    this.#outgoing = new Requests(visit, OutgoingRow, "outgoing");
    this.#rows = new KeyedList(this.#list, (name) => new FriendRow(visit, name));
    this.element = el(
      "section",
      { class: "card friends-panel", id: "friends", "aria-label": words.friends.friends },
      el("h2", {}, words.friends.friends),
      this.#form,
      this.#incoming.element,
      this.#outgoing.element,
      this.#filterField,
      this.#found,
      this.#news,
      this.#list,
      this.#empty,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { friends, presence } = this.#visit;
    friends.addEventListener("change", () => this.#render(), { signal });
    const onStream = (/** @type {CustomEvent} */ { detail }) => this.#renderStream(detail);
    presence.addEventListener("stream", onStream, { signal });
    this.#form.addEventListener("submit", (event) => this.#add(event));
    this.#filter.addEventListener("input", () => this.#find());
    this.#render();
  }

  close() {
    this.#abort.abort();
    for (const part of [this.#rows, this.#incoming, this.#outgoing]) part.close();
  }

  /** @param {SubmitEvent} event */
  async #add(event) {
    event.preventDefault();
    const name = this.#name.value.toLowerCase();
    const { friends } = this.#visit;
    const ready = right([
      [this.#name, !name && words.friends.nameMissing],
      [this.#name, friends.friends.includes(name) && words.friends.alreadyFriends(name)],
      [this.#name, friends.outgoing.includes(name) && words.friends.alreadyAsked(name)],
    ]);
    if (!ready) return;
    let state;
    let went = false;
    await this.#visit.attempt(async () => {
      went = await accepted(this.#name, async () => {
        state = await friends.add(name);
      });
    });
    if (!went) return;
    this.#name.value = "";
    this.#visit.notice.show(state === "friends" ? words.friends.friendsNow(name) : words.friends.sent(name));
  }

  #render() {
    const { friends, incoming, outgoing } = this.#visit.friends;
    this.#arrange(); // first: what leaves the requests may appear here
    this.#incoming.show(incoming);
    this.#outgoing.show(outgoing);
    this.#filterField.hidden = friends.length < FILTERED_FROM;
    const { isKnown } = this.#visit.friends;
    if (isKnown) this.#announce(incoming);
    this.#empty.hidden = !isKnown || friends.length + incoming.length + outgoing.length > 0;
  }

  /**
   * Tell screen readers who has asked since the page was opened.
   * @param {string[]} incoming
   */
  #announce(incoming) {
    const asked = this.#asked;
    this.#asked = incoming;
    const isNew = (/** @type {string} */ name) => asked && !asked.includes(name);
    const told = incoming.filter(isNew).map(words.friends.wants).join(". ");
    const isOver = incoming.length < (asked?.length ?? 0);
    if (told || isOver) this.#news.textContent = told;
  }

  /** @param {{ username: string }} change */
  #renderStream({ username }) {
    const row = this.#rows.row(username);
    if (!row) return;
    row.render();
    this.#arrange();
  }

  #find() {
    this.#arrange();
    const found = this.#rows.rows.length;
    this.#found.textContent = words.friends.found(found);
    this.#found.classList.toggle("unseen", found > 0); // the list says it to whoever sees it
  }

  /** Show those that the filter lets through, in order. */
  #arrange() {
    const { friends, presence } = this.#visit;
    const sought = this.#filter.value.trim().toLowerCase();
    const rank = (/** @type {string} */ name) => ORDER.indexOf(presence.streamOf(name)?.state ?? "off");
    this.#rows.show(
      friends.friends
        .filter((name) => name.includes(sought))
        .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b)),
    );
  }
}

/** Requests in one direction, collapsed when there are many. */
class Requests {
  #kind;
  #summary = el("summary");
  #list = el("ul");
  #rows;
  #count = 0;

  /**
   * @param {Visit} visit
   * @param {typeof IncomingRow | typeof OutgoingRow} Row
   * @param {"incoming" | "outgoing"} kind
   */
  constructor(visit, Row, kind) {
    this.#kind = kind;
    /** @type {KeyedList<IncomingRow | OutgoingRow>} */
    this.#rows = new KeyedList(this.#list, (name) => new Row(visit, name));
    this.element = el("details", { class: "requests", testid: kind }, this.#summary, this.#list);
  }

  /** @param {string[]} names */
  show(names) {
    const count = names.length;
    this.#rows.show(names);
    this.element.hidden = !count;
    this.#summary.textContent =
      this.#kind === "incoming" ? words.friends.requests(count) : words.friends.asked(count);
    if (!this.#count) this.element.open = count <= OPEN_UP_TO; // from then on as the user left it
    this.#count = count;
  }

  close() {
    this.#rows.close();
  }
}

/** A request that waits for the user's answer. */
class IncomingRow {
  #visit;
  #name;

  /**
   * @param {Visit} visit
   * @param {string} name
   */
  constructor(visit, name) {
    this.#visit = visit;
    this.#name = name;
    const accept = {
      class: "small primary",
      testid: `accept-${name}`,
      "aria-label": words.friends.acceptWhom(name),
      on: { click: () => this.#answer(() => visit.friends.add(name), words.friends.friendsNow) },
    };
    const decline = {
      class: "small",
      testid: `decline-${name}`,
      "aria-label": words.friends.declineWhom(name),
      on: { click: () => this.#answer(() => visit.friends.remove(name), words.friends.declined) },
    };
    this.element = el(
      "li",
      { class: "request", testid: `incoming-${name}` },
      el("span", {}, words.friends.wants(name)),
      el("span", { class: "row" }, button(accept, words.friends.accept), button(decline, words.friends.decline)),
    );
  }

  /**
   * @param {() => unknown} action
   * @param {(name: string) => string} done
   */
  async #answer(action, done) {
    if (await this.#visit.attempt(action)) this.#visit.notice.show(done(this.#name));
  }
}

/** A request that waits for somebody else's answer. */
class OutgoingRow {
  /**
   * @param {Visit} visit
   * @param {string} name
   */
  constructor(visit, name) {
    const withdraw = async () => {
      const went = await visit.attempt(() => visit.friends.remove(name));
      if (went) visit.notice.show(words.friends.withdrawn(name));
    };
    const attributes = {
      class: "small quiet",
      testid: `withdraw-${name}`,
      "aria-label": words.friends.withdrawWhom(name),
      on: { click: withdraw },
    };
    this.element = el(
      "li",
      { class: "request outgoing", testid: `outgoing-${name}` },
      link(`/u/${name}`, {}, name),
      button(attributes, words.friends.withdraw),
    );
  }
}

/** One friend: name, live state, time. */
class FriendRow {
  #visit;
  #name;
  #state = el("span", { class: "state" });
  #timer;

  /**
   * @param {Visit} visit
   * @param {string} name
   */
  constructor(visit, name) {
    this.#visit = visit;
    this.#name = name;
    this.#timer = new Timer(visit.clock);
    const label = words.friends.removeWhom(name);
    const remove = {
      class: "quiet icon-only remove",
      testid: `remove-${name}`,
      "aria-label": label,
      title: label,
      on: { click: () => this.#remove() },
    };
    this.element = el(
      "li",
      { class: "friend", testid: `friend-row-${name}` },
      link(
        `/u/${name}`,
        {},
        el("span", { class: "dot" }),
        el("span", { class: "name" }, name),
        this.#state,
        this.#timer.element,
      ),
      button(remove, icon("close")),
    );
    this.render();
  }

  render() {
    const stream = this.#visit.presence.streamOf(this.#name);
    const state = stream?.state ?? "off";
    this.element.dataset.state = state;
    this.#state.textContent = stream ? words.listen.states[state] : "";
    this.#timer.set(stream?.started_at ?? null);
    this.#timer.element.hidden = !stream?.started_at;
  }

  close() {
    this.#timer.close();
  }

  async #remove() {
    const sure = await confirm({
      question: words.friends.removeQuestion(this.#name),
      consequence: words.friends.removeConsequence,
      yes: words.friends.remove,
    });
    if (!sure) return;
    const went = await this.#visit.attempt(() => this.#visit.friends.remove(this.#name));
    if (went) this.#visit.notice.show(words.friends.removed(this.#name));
  }
}
