import { el } from "../dom.js";

/** A stream's state as a word and a dot; announced when it changes. */
export class StateBadge {
  #word;

  /** @param {{ testid: string }} about */
  constructor({ testid }) {
    this.#word = el("span", { testid, role: "status" }, "off");
    this.element = el("span", { class: "badge", data: { state: "off" } }, this.#word);
  }

  /** @param {string} state */
  set(state) {
    if (this.#word.textContent === state) return;
    this.#word.textContent = state;
    this.element.dataset.state = state;
  }
}
