import { button, el } from "../dom.js";
import { words } from "../words.js";

/** @typedef {{ question: string, consequence: string, yes: string }} Question */

/**
 * Ask before something that cannot be undone. Resolves to whether the person agrees.
 * @param {Question} question
 * @returns {Promise<boolean>}
 */
export function confirm(question) {
  return ask(question, null);
}

/**
 * The same for what only the account's owner may do. Resolves to the password, null if they do not
 * agree.
 * @param {Question} question
 * @returns {Promise<string | null>}
 */
export async function confirmWithPassword(question) {
  const password = el("input", {
    type: "password",
    testid: "confirm-password",
    autocomplete: "current-password",
    placeholder: words.account.yourPassword,
    "aria-label": words.account.yourPassword,
    maxlength: 128,
    required: true,
    autofocus: true,
  });
  return (await ask(question, password)) ? password.value : null;
}

/**
 * @param {Question} about
 * @param {HTMLInputElement | null} field
 * @returns {Promise<boolean>}
 */
function ask({ question, consequence, yes }, field) {
  const cancel = { testid: "cancel", autofocus: !field, on: { click: () => dialog.close("no") } };
  /** @type {HTMLDialogElement} */
  const dialog = el(
    "dialog",
    { class: "confirm", testid: "confirm-dialog", "aria-labelledby": "confirm-question" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "confirm-question" }, question),
      el("p", {}, consequence),
      field,
      el(
        "div",
        { class: "row end" },
        button(cancel, words.common.cancel),
        button({ type: "submit", value: "yes", testid: "confirm", class: "danger" }, yes),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
