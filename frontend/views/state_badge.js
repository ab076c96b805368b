import { el } from "../dom.js";
import { words } from "../words.js";

/** @typedef {keyof typeof words.common.states} State */

/** A stream's state as a word and a dot. Whoever shows it announces what changes. */
export class StateBadge {
  #word;

  /** @param {{ testid: string }} about */
  constructor({ testid }) {
    this.#word = el("span", { testid }, words.common.states.off);
    this.element = el("span", { class: "badge", data: { state: "off" } }, this.#word);
  }

  /** @param {State} state */
  set(state) {
    if (this.element.dataset.state === state) return;
    this.#word.textContent = words.common.states[state];
    this.element.dataset.state = state;
  }
}
