import { button, el, icon } from "../dom.js";
import { words } from "../words.js";

/** The one place where the page shows messages to the user. */
export class Notice {
  #text = el("p", { testid: "notice", role: "status", "aria-live": "polite" });
  #close = button({ class: "quiet icon-only", "aria-label": words.common.dismiss }, icon("close"));

  element = el("div", { class: "notice" }, this.#text, this.#close);

  constructor() {
    this.#close.addEventListener("click", () => this.clear());
    this.clear();
  }

  /**
   * Show this instead of the last message; an empty text hides it.
   * @param {string} message
   */
  show(message) {
    this.#text.textContent = message;
    this.element.classList.toggle("empty", !message);
  }

  clear() {
    this.show("");
  }
}
