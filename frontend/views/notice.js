import { button, el, icon } from "../dom.js";
import { words } from "../words.js";

/** The one place where the page shows messages to the user; it lies above the view. */
export class Notice {
  #text = el("p", { testid: "notice", role: "status", "aria-live": "polite" });
  #action = button({ class: "small", testid: "notice-action", hidden: true });
  #close = button({ class: "quiet icon-only", "aria-label": words.common.dismiss }, icon("close"));
  #run = () => {};

  element = el("div", { class: "notice" }, this.#text, this.#action, this.#close);

  constructor() {
    this.#close.addEventListener("click", () => this.clear());
    this.#action.addEventListener("click", () => {
      this.clear();
      this.#run();
    });
    this.clear();
  }

  /**
   * Show this instead of the last message, with a button for what can be done about it; an empty
   * text hides it.
   * @param {string} message
   * @param {{ label: string, run: () => void }} [action]
   */
  show(message, action) {
    this.#text.textContent = message;
    this.#action.textContent = action?.label ?? "";
    this.#action.hidden = !action;
    this.#run = action?.run ?? (() => {});
    this.element.classList.toggle("empty", !message);
    this.element.classList.remove("wrong");
  }

  /**
   * Show what went wrong, in the colour that says so.
   * @param {string} message
   */
  complain(message) {
    this.show(message);
    this.element.classList.add("wrong");
  }

  clear() {
    this.show("");
  }

  /**
   * Take a message back, if it is still shown.
   * @param {string} message
   */
  retract(message) {
    if (this.#text.textContent === message) this.clear();
  }
}
