import { button, el } from "../dom.js";

/**
 * Ask before something that cannot be undone. Resolves to whether the person agrees.
 * @param {{ question: string, consequence: string, yes: string }} words
 * @returns {Promise<boolean>}
 */
export function confirm({ question, consequence, yes }) {
  /** @type {HTMLDialogElement} */
  const dialog = el(
    "dialog",
    { class: "confirm", testid: "confirm-dialog", "aria-labelledby": "confirm-question" },
    el("h2", { id: "confirm-question" }, question),
    el("p", {}, consequence),
    el(
      "div",
      { class: "row end" },
      button({ testid: "cancel", autofocus: true, on: { click: () => dialog.close("no") } }, "Keep"),
      button({ testid: "confirm", class: "danger", on: { click: () => dialog.close("yes") } }, yes),
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
