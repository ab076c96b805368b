import { button, el } from "../dom.js";

/** @typedef {{ question: string, consequence: string, yes: string }} Words */

/**
 * Ask before something that cannot be undone. Resolves to whether the person agrees.
 * @param {Words} words
 * @returns {Promise<boolean>}
 */
export function confirm(words) {
  return ask(words, null);
}

/**
 * The same for what only the account's owner may do. Resolves to the password, null if they do not
 * agree.
 * @param {Words} words
 * @returns {Promise<string | null>}
 */
export async function confirmWithPassword(words) {
  const password = el("input", {
    type: "password",
    testid: "confirm-password",
    autocomplete: "current-password",
    placeholder: "Your password",
    "aria-label": "Your password",
    maxlength: 128,
    required: true,
    autofocus: true,
  });
  return (await ask(words, password)) ? password.value : null;
}

/**
 * @param {Words} words
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
        button(cancel, "Keep"),
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
