import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { words, writeDay, writeSize } from "../words.js";
import { confirm } from "./confirm.js";

/**
 * @import { Stream } from "../api.js"
 * @import { Visit } from "../visit.js"
 * @typedef {{
 *   username: string, created_at: string | null, last_used_at: string | null, disabled: boolean,
 *   admin: boolean, used_bytes: number,
 * }} Account
 */

const POLL_MS = 5_000;

/** For administrators: everybody's streams, to end them, and accounts, to disable them. */
export class AdminView {
  #visit;
  #abort = new AbortController();
  /** @type {number | undefined} */
  #poll;
  #streams = el("ul", { class: "requests", testid: "admin-streams" });
  #accounts = el("ul", { class: "requests", testid: "admin-accounts" });

  title = words.admin.title;

  element = el(
    "div",
    { class: "profile" },
    el("h1", {}, words.admin.title),
    el("section", { class: "card", "aria-label": words.admin.streams }, el("h2", {}, words.admin.streams), this.#streams),
    el("section", { class: "card", "aria-label": words.admin.accounts }, el("h2", {}, words.admin.accounts), this.#accounts),
  );

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
  }

  start() {
    this.#visit.attempt(() => this.#load());
    this.#poll = setInterval(() => this.#loadStreams().catch(ignoreRefusal), POLL_MS);
  }

  close() {
    this.#abort.abort();
    clearInterval(this.#poll);
  }

  async #load() {
    const [accounts] = await Promise.all([this.#visit.api.get("/api/admin/accounts"), this.#loadStreams()]);
    if (this.#abort.signal.aborted) return;
    this.#accounts.replaceChildren(...accounts.map((/** @type {Account} */ one) => this.#account(one)));
  }

  async #loadStreams() {
    /** @type {Stream[]} */
    const streams = await this.#visit.api.get("/api/admin/streams");
    if (this.#abort.signal.aborted) return;
    const rows = streams.map((stream) => this.#stream(stream));
    this.#streams.replaceChildren(...(rows.length ? rows : [el("li", { class: "hint" }, words.admin.nobodyLive)]));
  }

  /** @param {Stream} stream */
  #stream({ username, state, listeners }) {
    const end = async () => {
      const sure = await confirm({
        question: words.admin.endQuestion(username),
        consequence: words.admin.endConsequence,
        yes: words.admin.endYes,
      });
      if (sure) await this.#change(() => this.#visit.api.delete(`/api/admin/streams/${username}`));
    };
    const about = words.admin.about(words.common.states[state], listeners);
    const attributes = { class: "small danger", testid: `end-${username}`, "aria-label": words.admin.endOf(username), on: { click: end } };
    return row(username, about, button(attributes, words.admin.end));
  }

  /** @param {Account} account */
  #account({ username, created_at: made, last_used_at: used, disabled, admin, used_bytes: size }) {
    const about = [
      admin ? words.admin.administrator : null,
      disabled ? words.admin.disabled : null,
      made ? words.admin.since(writeDay(made)) : null,
      used ? words.admin.lastHere(writeDay(used)) : null,
      writeSize(size),
    ];
    const change = async () => {
      const sure = disabled || (await confirm({
        question: words.admin.disableQuestion(username),
        consequence: words.admin.disableConsequence,
        yes: words.admin.disable,
      }));
      const path = `/api/admin/accounts/${username}`;
      if (sure) await this.#change(() => this.#visit.api.put(path, { disabled: !disabled }));
    };
    const [word, label] = disabled
      ? [words.admin.enable, words.admin.enableOf(username)]
      : [words.admin.disable, words.admin.disableOf(username)];
    const attributes = { class: "small", testid: `disable-${username}`, "aria-label": label, on: { click: change } };
    const mine = username === this.#visit.username;
    return row(username, about.filter(Boolean).join(" · "), mine ? null : button(attributes, word));
  }

  /** @param {() => Promise<unknown>} request */
  #change(request) {
    return this.#visit.attempt(async () => {
      await request();
      await this.#load();
    });
  }
}

/**
 * @param {string} name
 * @param {string} about
 * @param {HTMLElement | null} tool
 */
function row(name, about, tool) {
  const text = el("span", {}, el("strong", {}, name), " ", el("span", { class: "hint" }, about));
  return el("li", { class: "request administered" }, text, tool);
}

/** @param {unknown} error */
function ignoreRefusal(error) {
  if (!(error instanceof ApiError)) throw error; // asked again soon
}
