import { ApiError } from "../api.js";
import { button, el, toggle } from "../dom.js";
import { words, writeMoment } from "../words.js";
import { confirm, confirmWithPassword } from "./confirm.js";
import { Field, right } from "./field.js";

/**
 * @import { Visit } from "../visit.js"
 * @typedef {{
 *   id: string, created_at: string, last_used_at: string, current: boolean, address: string,
 *   user_agent: string,
 * }} SignIn
 */

/** The account: a new password, where it is signed in, who is blocked, its end. Closed at first. */
export class AccountPanel {
  #visit;
  #onDeleted;
  #current = passwordField("current-password", words.account.currentPassword);
  #new = passwordField("new-password", words.account.newPassword, words.account.passwordRule);
  #form = el(
    "form",
    { class: "change-password", method: "post", novalidate: true },
    this.#current.element,
    this.#new.element,
    button({ type: "submit", class: "small", testid: "change-password" }, words.account.changePassword),
  );
  #signIns = el("ul", { testid: "sign-ins", "aria-label": words.account.signIns });
  #others;
  #notify = toggle({
    testid: "notify",
    label: words.account.notify,
    hint: words.account.notifyHint,
    on: { change: () => this.#turnNotifications() },
  });
  #blocked = el("ul", { testid: "blocked", "aria-label": words.account.blocked });
  #blockedHeading = el("h3", { hidden: true }, words.account.blocked);
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
    this.#others = button(
      { class: "small", testid: "end-others", hidden: true, on: act(() => this.#endOthers()) },
      words.account.signOutOthers,
    );
    this.element = el(
      "details",
      { class: "account-panel", on: { toggle: () => this.element.open && this.#load() } },
      el("summary", { testid: "account" }, words.account.heading),
      this.#notify.element,
      el("h3", {}, words.account.changePassword),
      this.#form,
      el("h3", {}, words.account.signIns),
      this.#signIns,
      this.#others,
      this.#blockedHeading,
      this.#blocked,
      button(
        { class: "quiet small", testid: "delete-account", on: act(() => this.#delete()) },
        words.account.deleteAccount,
      ),
    );
  }

  start() {
    const { isPossible, isOn } = this.#visit.notifier;
    this.#notify.input.checked = isOn;
    this.#notify.element.hidden = !isPossible;
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
      this.#others.hidden = signIns.length < 2;
      this.#blockedHeading.hidden = this.#blocked.hidden = !blocked.length;
    });
  }

  async #turnNotifications() {
    const wanted = this.#notify.input.checked;
    const on = await this.#visit.notifier.turn(wanted);
    this.#notify.input.checked = on;
    if (wanted && !on) this.#visit.notice.complain(words.account.notifyRefused);
    else this.#visit.notice.clear();
  }

  /** @param {SignIn} signIn */
  #row({ id, last_used_at, current, address, user_agent }) {
    const used = current ? words.account.thisOne : words.account.lastUsed(writeMoment(last_used_at));
    const browser = browserOf(user_agent);
    const where = [browser, address, used].filter(Boolean).join(" · ");
    const end = () => this.#remove(`/api/me/sign-ins/${encodeURIComponent(id)}`);
    const attributes = { class: "small", "aria-label": words.account.signOutOf(where), on: { click: end } };
    return el(
      "li",
      { class: "row" },
      el("span", { title: user_agent }, where),
      current ? null : button(attributes, words.account.signOut),
    );
  }

  /** @param {string} name */
  #block(name) {
    const { account } = words;
    const unblock = () => this.#remove(`/api/blocks/${encodeURIComponent(name)}`);
    const label = account.unblockPerson(name);
    const attributes = { class: "small", testid: `unblock-${name}`, "aria-label": label, on: { click: unblock } };
    return el(
      "li",
      { class: "row" },
      el("span", {}, account.isBlocked(name)),
      button(attributes, account.unblock),
    );
  }

  /** @param {string} path */
  async #remove(path) {
    if (await this.#visit.attempt(() => this.#visit.api.delete(path))) await this.#load();
  }

  async #endOthers() {
    const sure = await confirm({
      question: words.account.signOutOthersQuestion,
      consequence: words.account.signOutOthersConsequence,
      yes: words.account.signOut,
    });
    if (sure) await this.#remove("/api/me/sign-ins");
  }

  /** @param {SubmitEvent} event */
  async #changePassword(event) {
    event.preventDefault();
    const [current, changed] = [this.#current.value, this.#new.value];
    const filled = right([
      [this.#current, !current && words.account.passwordMissing],
      [this.#new, !changed && words.account.newPasswordMissing],
    ]);
    if (!filled) return;
    try {
      await this.#visit.api.put("/api/me/password", { current, new: changed });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return this.#refuse(error);
    }
    this.#form.reset();
    await this.#load();
    this.#visit.notice.show(words.account.passwordChanged);
  }

  /** @param {ApiError} error */
  #refuse({ status, message }) {
    if (status === 403) this.#current.refuse(message);
    else if (status === 422) this.#new.refuse(message);
    else this.#visit.notice.complain(message);
  }

  async #delete() {
    const { api } = this.#visit;
    const deleted = await confirmWithPassword(
      {
        question: words.account.deleteQuestion,
        consequence: words.account.deleteConsequence,
        yes: words.account.deleteAccount,
      },
      (password) => api.delete("/api/me", { password }),
    );
    if (deleted) this.#onDeleted();
  }
}

/**
 * @param {AutoFill} kind
 * @param {string} label
 * @param {string} [rule]
 */
function passwordField(kind, label, rule) {
  return new Field({ type: "password", testid: kind, autocomplete: kind, label, rule, maxlength: 128 });
}

/** @param {string} userAgent */
function browserOf(userAgent) {
  const known = ["Firefox", "Edg", "OPR", "Chrome", "Safari"].find((name) => userAgent.includes(name));
  const names = /** @type {Record<string, string>} */ ({ Edg: "Edge", OPR: "Opera" });
  return known ? (names[known] ?? known) : userAgent.split(" ")[0];
}
