import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { words } from "../words.js";
import { Field, right } from "./field.js";

/**
 * @import { Api, Me } from "../api.js"
 * @import { Route } from "../routes.js"
 * @typedef {"sign-in" | "create-account"} Purpose
 */

const INVITED = /^#invite=([\w-]+)$/;
const USERNAME = /^[a-z0-9_-]*$/;
const USERNAME_LENGTH = 3;
const PASSWORD_LENGTH = 8;
/** Set once somebody has signed in with this browser. */
const KNOWN = "hushcast.known";
const CODE = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };

/**
 * Sign in, or create an account and sign in. Either button submits once both fields are filled
 * in; until then it switches the form to its purpose.
 */
export class SignInView {
  #api;
  #onSignedIn;
  #heading = el("h1", {});
  #username = new Field({
    ...CODE,
    label: words.account.name,
    rule: words.account.nameRule,
    name: "username",
    testid: "username",
    autocomplete: "username",
    maxlength: 32,
  });
  #password = new Field({
    label: words.account.password,
    rule: words.account.passwordRule,
    name: "password",
    type: "password",
    testid: "password",
    autocomplete: "current-password",
    maxlength: 128,
  });
  #invite = new Field({
    ...CODE,
    label: words.account.invitation,
    name: "invite",
    testid: "invite",
    maxlength: 64,
  });
  #closed = el("p", { class: "hint", hidden: true }, words.account.closed);
  #error = el("p", { class: "error", role: "alert", testid: "form-error" });
  #signUp = "open";
  #busy = false;
  /** A form's first submit button, shown or not, is what Enter presses: this one names no purpose. */
  #enter = button({ type: "submit", hidden: true });
  #signIn = button({ type: "submit", testid: "sign-in", value: "sign-in" }, words.account.signIn);
  #create = button(
    { type: "submit", testid: "create-account", value: "create-account" },
    words.account.create,
  );
  #form;
  /** @type {Purpose} */
  #purpose = "sign-in";

  title = words.account.signInHeading;
  element;

  /** @param {{ api: Api, route: Route, onSignedIn: (me: Me) => void }} parts */
  constructor({ api, route, onSignedIn }) {
    this.#api = api;
    this.#onSignedIn = onSignedIn;
    this.#form = el(
      "form",
      { class: "sign-in card", novalidate: true, method: "post" },
      this.#enter,
      this.#heading,
      this.#username.element,
      this.#password.element,
      this.#invite.element,
      this.#error,
      el("div", { class: "row buttons" }, this.#signIn, this.#create),
      this.#closed,
    );
    this.element = el("div", { class: "welcome" }, promise(route), this.#form);
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    const code = location.hash.match(INVITED)?.[1];
    this.#invite.value = code ?? "";
    this.#turnTo(code ? "create-account" : "sign-in");
  }

  start() {
    this.#username.input.focus();
    this.#ask();
  }

  /** Learn who may sign up here; if that fails, the refusal of a new account tells. */
  async #ask() {
    try {
      this.#signUp = (await this.#api.get("/api/sign-up")).sign_up;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    const closed = this.#signUp === "closed";
    this.#closed.hidden = !closed;
    this.#create.hidden = closed;
    this.#turnTo(closed ? "sign-in" : this.#purpose);
  }

  close() {}

  /** @param {SubmitEvent} event */
  async #submit(event) {
    event.preventDefault();
    const pressed = /** @type {HTMLButtonElement | null} */ (event.submitter);
    const switched = pressed?.value && pressed.value !== this.#purpose;
    if (pressed?.value) this.#turnTo(/** @type {Purpose} */ (pressed.value));
    if (this.#busy || (switched && this.#leadOn()) || !right(this.#checks())) return;
    this.#busy = true;
    try {
      await this.#send();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#refuse(error);
    } finally {
      this.#busy = false;
    }
  }

  /** After the purpose has changed, what is still empty is no mistake: only lead there. */
  #leadOn() {
    const empty = this.#fields.find((field) => !field.value);
    empty?.input.focus();
    return Boolean(empty);
  }

  get #fields() {
    return [this.#username, this.#password, ...(this.#invited ? [this.#invite] : [])];
  }

  /** Names have no capitals; phones like to begin with one. */
  get #name() {
    return this.#username.value.toLowerCase();
  }

  get #invited() {
    return this.#purpose === "create-account" && this.#signUp === "invite";
  }

  /** @returns {[Field, string | false][]} */
  #checks() {
    const creating = this.#purpose === "create-account";
    const { account } = words;
    const [name, password] = [this.#name, this.#password.value];
    return [
      [this.#username, !name && account.nameMissing],
      [this.#username, creating && !USERNAME.test(name) && account.nameUnfit],
      [this.#username, creating && name.length < USERNAME_LENGTH && account.nameShort],
      [this.#password, !password && account.passwordMissing],
      [this.#password, creating && password.length < PASSWORD_LENGTH && account.passwordShort],
      [this.#invite, this.#invited && !this.#invite.value && account.invitationMissing],
    ];
  }

  async #send() {
    const person = { username: this.#name, password: this.#password.value };
    if (this.#purpose === "create-account") {
      const invite = this.#invited ? this.#invite.value : undefined;
      await this.#api.post("/api/accounts", { ...person, invite });
      if (location.hash) history.replaceState(null, "", location.pathname);
    }
    await this.#api.post("/api/session", person);
    localStorage.setItem(KNOWN, "yes");
    this.#onSignedIn(await this.#api.get("/api/me"));
  }

  /**
   * Say what the server refuses near the field that it is about.
   * @param {ApiError} error
   */
  #refuse({ status, message }) {
    const creating = this.#purpose === "create-account";
    if (creating && status === 409) this.#username.refuse(message);
    else if (creating && status === 403 && this.#invited) this.#invite.refuse(message);
    else if (status === 401 || status === 422) this.#password.refuse(message);
    else this.#error.textContent = message;
  }

  /** @param {Purpose} purpose */
  #turnTo(purpose) {
    const creating = purpose === "create-account";
    const { createHeading, backHeading, signInHeading } = words.account;
    const back = localStorage.getItem(KNOWN) ? backHeading : signInHeading;
    this.#purpose = purpose;
    this.#error.textContent = "";
    this.#heading.textContent = creating ? createHeading : back;
    this.#password.input.autocomplete = creating ? "new-password" : "current-password";
    this.#signIn.classList.toggle("primary", !creating);
    this.#create.classList.toggle("primary", creating);
    this.#username.ruleShown = creating;
    this.#password.ruleShown = creating;
    this.#invite.element.hidden = !this.#invited;
  }
}

/**
 * Say what hushcast is, and whose page one will be on.
 * @param {Route} route
 */
function promise(route) {
  const { account } = words;
  let whose = "";
  if (route.view === "profile") whose = account.personsPage(route.username);
  if (route.view === "recording") whose = account.recordingsPage;
  if (route.view === "admin") whose = account.adminsPage;
  return el(
    "div",
    { class: "promise" },
    el("p", { class: "display" }, account.promise),
    el("p", { class: "lead" }, account.explanation),
    whose ? el("p", { class: "whose", testid: "whose-page" }, whose) : null,
  );
}
