import { button, icon } from "../dom.js";
import { words } from "../words.js";

/** @import { Visit } from "../visit.js" */

/** Listen and Stop listening: one button, so that focus stays on it, and a double click is one. */
export class ListenButton {
  #visit;
  #username;
  #isListening = false;
  #canListen = false;

  element = button({ class: "large" });

  /**
   * @param {Visit} visit
   * @param {string} username
   */
  constructor(visit, username) {
    this.#visit = visit;
    this.#username = username;
    this.element.addEventListener("click", ({ detail }) => this.#press(detail));
    this.#render();
  }

  /** @param {{ isListening: boolean, canListen: boolean }} state */
  set({ isListening, canListen }) {
    if (isListening === this.#isListening && canListen === this.#canListen) return;
    this.#isListening = isListening;
    this.#canListen = canListen;
    this.#render();
  }

  #render() {
    const stop = this.#isListening;
    this.element.dataset.testid = stop ? "unlisten" : "listen";
    this.element.className = `large ${stop ? "stop" : "primary"}`;
    // Not `disabled`: that takes the focus away.
    this.element.setAttribute("aria-disabled", String(!stop && !this.#canListen));
    this.element.replaceChildren(
      icon(stop ? "stop" : "headphones"),
      stop ? words.listen.stop : words.listen.listen,
    );
  }

  /** @param {number} clicks how many in a row; 0 from the keyboard */
  #press(clicks) {
    const { listener } = this.#visit;
    if (clicks > 1) return;
    if (this.#isListening) listener.stop();
    else if (this.#canListen) this.#visit.attempt(() => listener.listen(this.#username));
  }
}
