import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { words } from "../words.js";
import { Field, right } from "./field.js";

/** @typedef {{ question: string, consequence: string, yes: string }} Question */

/**
 * Ask before something that cannot be undone. Resolves to whether the person agrees.
 * @param {Question} question
 * @returns {Promise<boolean>}
 */
export function confirm(question) {
  return ask(question, null, async () => {});
}

/**
 * The same for what only the account's owner may do: it is done with the password, and what is
 * refused is said in the dialog. Resolves to whether it was done.
 * @param {Question} question
 * @param {(password: string) => Promise<unknown>} action raises ApiError
 * @returns {Promise<boolean>}
 */
export function confirmWithPassword(question, action) {
  const password = new Field({
    label: words.account.yourPassword,
    type: "password",
    testid: "confirm-password",
    autocomplete: "current-password",
    maxlength: 128,
    autofocus: true,
  });
  return ask(question, password, () => action(password.value));
}

/**
 * @param {Question} about
 * @param {Field | null} field
 * @param {() => Promise<unknown>} action
 * @returns {Promise<boolean>}
 */
function ask({ question, consequence, yes }, field, action) {
  const cancel = { testid: "cancel", autofocus: !field, on: { click: () => dialog.close() } };
  /** @type {HTMLFormElement} */
  const form = el(
    "form",
    { method: "dialog", novalidate: true },
    el("h2", { id: "confirm-question" }, question),
    el("p", { id: "confirm-consequence" }, consequence),
    field?.element,
    el(
      "div",
      { class: "row end" },
      button(cancel, words.common.cancel),
      button({ type: "submit", testid: "confirm", class: "danger" }, yes),
    ),
  );
  const about = { "aria-labelledby": "confirm-question", "aria-describedby": "confirm-consequence" };
  /** @type {HTMLDialogElement} */
  const dialog = el("dialog", { class: "confirm", testid: "confirm-dialog", ...about }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (field && !right([[field, !field.value && words.account.passwordMissing]])) return;
    try {
      await action();
      dialog.close("yes");
    } catch (error) {
      if (!(error instanceof ApiError && field)) throw error;
      field.refuse(error.message);
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
