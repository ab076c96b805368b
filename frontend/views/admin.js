import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
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
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** For administrators: everybody's streams, to end them, and accounts, to disable them. */
export class AdminView {
  #visit;
  #abort = new AbortController();
  /** @type {number | undefined} */
  #poll;
  #streams = el("ul", { class: "requests", testid: "admin-streams" });
  #accounts = el("ul", { class: "requests", testid: "admin-accounts" });

  element = el(
    "div",
    { class: "profile" },
    el("section", { class: "card", "aria-label": "Streams" }, el("h2", {}, "Streams"), this.#streams),
    el("section", { class: "card", "aria-label": "Accounts" }, el("h2", {}, "Accounts"), this.#accounts),
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
    this.#streams.replaceChildren(...(rows.length ? rows : [el("li", { class: "hint" }, "Nobody is live.")]));
  }

  /** @param {Stream} stream */
  #stream({ username, state, listeners }) {
    const end = async () => {
      const sure = await confirm({
        question: `End ${username}'s stream?`,
        consequence: "It is stored as far as it got. They can start another one unless you disable their account.",
        yes: "End stream",
      });
      if (sure) await this.#change(() => this.#visit.api.delete(`/api/admin/streams/${username}`));
    };
    const about = `${state}, ${listeners === 1 ? "1 listener" : `${listeners} listeners`}`;
    const attributes = { class: "small danger", testid: `end-${username}`, on: { click: end } };
    return row(username, about, button(attributes, "End"));
  }

  /** @param {Account} account */
  #account({ username, created_at: made, last_used_at: used, disabled, admin, used_bytes: size }) {
    const about = [
      admin ? "administrator" : null,
      disabled ? "disabled" : null,
      made ? `since ${DAY.format(new Date(made))}` : null,
      used ? `last here ${DAY.format(new Date(used))}` : null,
      `${(size / 1e9).toFixed(1)} GB`,
    ];
    const change = async () => {
      const sure = disabled || (await confirm({
        question: `Disable ${username}'s account?`,
        consequence: "They are signed out everywhere, their stream ends, and they cannot sign in again until you enable it.",
        yes: "Disable",
      }));
      const path = `/api/admin/accounts/${username}`;
      if (sure) await this.#change(() => this.#visit.api.put(path, { disabled: !disabled }));
    };
    const attributes = { class: "small", testid: `disable-${username}`, on: { click: change } };
    const mine = username === this.#visit.username;
    const words = disabled ? "Enable" : "Disable";
    return row(username, about.filter(Boolean).join(" · "), mine ? null : button(attributes, words));
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
  const words = el("span", {}, el("strong", {}, name), " ", el("span", { class: "hint" }, about));
  return el("li", { class: "request administered" }, words, tool);
}

/** @param {unknown} error */
function ignoreRefusal(error) {
  if (!(error instanceof ApiError)) throw error; // asked again soon
}
