import { ApiError } from "../api.js";
import { button, el } from "../dom.js";

const INVITED = /^#invite=([\w-]+)$/;

/**
 * @import { Api } from "../api.js"
 * @import { Notice } from "./notice.js"
 */

/** @type {Record<string, { heading: string, password: AutoFill }>} */
const WORDS = {
  "sign-in": { heading: "Welcome back", password: "current-password" },
  "create-account": { heading: "Create your account", password: "new-password" },
};

/**
 * Sign in, or create an account and sign in. Either button submits once both fields are filled
 * in; until then it switches the form to its purpose.
 */
export class SignInView {
  #api;
  #notice;
  #onSignedIn;
  #heading = el("h1", {}, "Welcome back");
  #username = el("input", {
    id: "username",
    name: "username",
    testid: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 32,
    "aria-describedby": "username-rule",
  });
  #password = el("input", {
    id: "password",
    name: "password",
    type: "password",
    testid: "password",
    autocomplete: "current-password",
    maxlength: 128,
    "aria-describedby": "password-rule",
  });
  #invite = el("input", {
    id: "invite",
    name: "invite",
    testid: "invite",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 64,
  });
  #invitation = [el("label", { for: "invite" }, "Invitation"), this.#invite];
  #closed = el("p", { class: "hint" }, "Ask whoever runs this hushcast for an account.");
  #signUp = "open";
  /** A form's first submit button, shown or not, is what Enter presses: this one names no purpose. */
  #enter = button({ type: "submit", hidden: true });
  #signIn = button({ type: "submit", testid: "sign-in", value: "sign-in" }, "Sign in");
  #create = button({ type: "submit", testid: "create-account", value: "create-account" }, "Create account");
  #rules = [
    el("span", { id: "username-rule", class: "hint rule" }, "3 to 32 of a–z, 0–9, _ and -"),
    el("span", { id: "password-rule", class: "hint rule" }, "At least 8 characters"),
  ];
  #form = el(
    "form",
    { class: "sign-in card", novalidate: true, method: "post" },
    this.#enter,
    this.#heading,
    el("label", { for: "username" }, "Name"),
    this.#username,
    this.#rules[0],
    el("label", { for: "password" }, "Password"),
    this.#password,
    this.#rules[1],
    ...this.#invitation,
    el("div", { class: "row buttons" }, this.#signIn, this.#create),
    this.#closed,
  );

  element = el(
    "div",
    { class: "welcome" },
    el(
      "div",
      { class: "promise" },
      el("p", { class: "display" }, "Your voice, live. Without the noise."),
      el("p", { class: "lead" },
        "Press Start and speak. Your friends hear you within a second, without the noise of your room."),
    ),
    this.#form,
  );

  /** @param {{ api: Api, notice: Notice, onSignedIn: (name: string) => void }} parts */
  constructor({ api, notice, onSignedIn }) {
    this.#api = api;
    this.#notice = notice;
    this.#onSignedIn = onSignedIn;
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    const code = location.hash.match(INVITED)?.[1];
    this.#invite.value = code ?? "";
    this.#closed.hidden = true;
    this.#turnTo(code ? "create-account" : "sign-in");
  }

  start() {
    this.#username.focus();
    this.#ask();
  }

  /** Learn who may sign up here; if that fails, the refusal of a new account tells. */
  async #ask() {
    try {
      this.#signUp = (await this.#api.get("/api/sign-up")).sign_up;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    this.#closed.hidden = this.#signUp !== "closed";
    this.#create.hidden = this.#signUp === "closed";
    this.#turnTo(this.#signUp === "closed" ? "sign-in" : (this.#form.dataset.purpose ?? "sign-in"));
  }

  close() {}

  /** @param {SubmitEvent} event */
  async #submit(event) {
    event.preventDefault();
    const pressed = /** @type {HTMLButtonElement | null} */ (event.submitter);
    const purpose = pressed?.value || this.#form.dataset.purpose || "sign-in";
    this.#turnTo(purpose);
    const invited = purpose === "create-account" && this.#signUp === "invite";
    const fields = [this.#username, this.#password, ...(invited ? [this.#invite] : [])];
    const empty = fields.find((field) => !field.value);
    if (empty) return empty.focus();
    const person = { username: this.#username.value.trim(), password: this.#password.value };
    this.#notice.clear();
    this.#setBusy(true);
    try {
      if (purpose === "create-account") {
        const invite = invited ? this.#invite.value.trim() : undefined;
        await this.#api.post("/api/accounts", { ...person, invite });
        if (location.hash) history.replaceState(null, "", location.pathname);
      }
      const { username } = await this.#api.post("/api/session", person);
      this.#onSignedIn(username);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#notice.show(error.message);
      this.#password.focus();
    } finally {
      this.#setBusy(false);
    }
  }

  /** @param {string} purpose */
  #turnTo(purpose) {
    this.#form.dataset.purpose = purpose;
    this.#heading.textContent = WORDS[purpose].heading;
    this.#password.autocomplete = WORDS[purpose].password;
    this.#signIn.classList.toggle("primary", purpose === "sign-in");
    this.#create.classList.toggle("primary", purpose === "create-account");
    for (const rule of this.#rules) rule.hidden = purpose === "sign-in";
    const invited = purpose === "create-account" && this.#signUp === "invite";
    for (const part of this.#invitation) part.hidden = !invited;
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    for (const each of [this.#enter, this.#signIn, this.#create]) each.disabled = busy;
  }
}
