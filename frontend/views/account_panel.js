import { button, el } from "../dom.js";
import { confirm, confirmWithPassword } from "./confirm.js";

/**
 * @import { Visit } from "../visit.js"
 * @typedef {{
 *   id: string, created_at: string, last_used_at: string, current: boolean, address: string,
 *   user_agent: string,
 * }} SignIn
 */

const DAY = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/** The account: a new password, where it is signed in, who is blocked, its end. Closed at first. */
export class AccountPanel {
  #visit;
  #onDeleted;
  #current = passwordField("current-password", "Current password");
  #new = passwordField("new-password", "New password");
  #form = el(
    "form",
    { class: "row", method: "post" },
    this.#current,
    this.#new,
    button({ type: "submit", class: "small", testid: "change-password" }, "Change password"),
  );
  #signIns = el("ul", { testid: "sign-ins", "aria-label": "Where you are signed in" });
  #blocked = el("ul", { testid: "blocked", "aria-label": "Blocked people" });
  /** @type {HTMLDetailsElement} */
  element;

  /**
   * @param {Visit} visit
   * @param {{ onDeleted: () => void }} calls
   */
  constructor(visit, { onDeleted }) {
    this.#visit = visit;
    this.#onDeleted = onDeleted;
    const act = (/** @type {() => unknown} */ action) => ({ click: () => action() });
    this.element = el(
      "details",
      { class: "account-panel", on: { toggle: () => this.element.open && this.#load() } },
      el("summary", { testid: "account" }, "Account"),
      this.#form,
      el("h3", {}, "Where you are signed in"),
      this.#signIns,
      button(
        { class: "small", testid: "end-others", on: act(() => this.#endOthers()) },
        "Sign out everywhere else",
      ),
      this.#blocked,
      button(
        { class: "quiet small", testid: "delete-account", on: act(() => this.#delete()) },
        "Delete account",
      ),
    );
  }

  start() {
    this.#form.addEventListener("submit", (event) => this.#changePassword(event));
  }

  close() {}

  async #load() {
    const { api } = this.#visit;
    await this.#visit.attempt(async () => {
      const [signIns, blocked] = await Promise.all([
        api.get("/api/me/sign-ins"),
        api.get("/api/blocks"),
      ]);
      this.#signIns.replaceChildren(...signIns.map((/** @type {SignIn} */ each) => this.#row(each)));
      this.#blocked.replaceChildren(...blocked.map((/** @type {string} */ name) => this.#block(name)));
    });
  }

  /** @param {SignIn} signIn */
  #row({ id, last_used_at, current, address, user_agent }) {
    const used = current ? "this one" : `last used ${DAY.format(new Date(last_used_at))}`;
    const where = [browserOf(user_agent), address, used].filter(Boolean).join(" · ");
    const end = () => this.#remove(`/api/me/sign-ins/${encodeURIComponent(id)}`);
    return el(
      "li",
      { class: "row" },
      el("span", { title: user_agent }, where),
      current ? null : button({ class: "small", on: { click: end } }, "Sign out"),
    );
  }

  /** @param {string} name */
  #block(name) {
    const unblock = () => this.#remove(`/api/blocks/${encodeURIComponent(name)}`);
    return el(
      "li",
      { class: "row" },
      el("span", {}, `${name} is blocked`),
      button({ class: "small", testid: `unblock-${name}`, on: { click: unblock } }, "Unblock"),
    );
  }

  /** @param {string} path */
  async #remove(path) {
    if (await this.#visit.attempt(() => this.#visit.api.delete(path))) await this.#load();
  }

  async #endOthers() {
    const sure = await confirm({
      question: "Sign out everywhere else?",
      consequence: "Streams and pages on your other devices end at once.",
      yes: "Sign out",
    });
    if (sure) await this.#remove("/api/me/sign-ins");
  }

  /** @param {SubmitEvent} event */
  async #changePassword(event) {
    event.preventDefault();
    const empty = [this.#current, this.#new].find((field) => !field.value);
    if (empty) return empty.focus();
    const body = { current: this.#current.value, new: this.#new.value };
    if (!(await this.#visit.attempt(() => this.#visit.api.put("/api/me/password", body)))) return;
    this.#form.reset();
    await this.#load();
    this.#visit.notice.show("Your password is changed. You are signed out everywhere else.");
  }

  async #delete() {
    const password = await confirmWithPassword({
      question: "Delete your account?",
      consequence: "This permanently deletes your name, your friendships and all your recordings.",
      yes: "Delete account",
    });
    if (password === null) return;
    const { api } = this.#visit;
    if (await this.#visit.attempt(() => api.delete("/api/me", { password }))) this.#onDeleted();
  }
}

/**
 * @param {AutoFill} kind
 * @param {string} words
 */
function passwordField(kind, words) {
  return el("input", {
    type: "password",
    testid: kind,
    autocomplete: kind,
    placeholder: words,
    "aria-label": words,
    maxlength: 128,
  });
}

/** @param {string} userAgent */
function browserOf(userAgent) {
  const known = ["Firefox", "Edg", "OPR", "Chrome", "Safari"].find((name) => userAgent.includes(name));
  const names = /** @type {Record<string, string>} */ ({ Edg: "Edge", OPR: "Opera" });
  return known ? (names[known] ?? known) : userAgent.split(" ")[0];
}
