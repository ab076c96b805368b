import { button, icon } from "../dom.js";
import { view } from "../listen_state.js";
import { words } from "../words.js";

/** @import { Visit } from "../visit.js" */

/**
 * Listen and Stop listening: one button, so that focus stays on it, and a double click or a key
 * that is held down counts once. In a list, `named`, it says whom it is about.
 */
export class ListenButton {
  #visit;
  #username;
  #named;
  #shown = "";

  element = button({});

  /**
   * @param {Visit} visit
   * @param {string} username
   * @param {{ named?: boolean }} [options]
   */
  constructor(visit, username, { named = false } = {}) {
    this.#visit = visit;
    this.#username = username;
    this.#named = named;
    this.element.addEventListener("click", ({ detail }) => detail > 1 || this.#press());
    this.element.addEventListener("blur", () => this.render());
    this.element.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
    this.render();
  }

  render() {
    const { canListen, isListening: stop } = this.#state;
    const off = !stop && !canListen;
    this.element.setAttribute("aria-disabled", String(off));
    this.element.disabled = off && this.element !== document.activeElement; // it would lose focus
    const label = stop ? words.listen[this.#named ? "stopShort" : "stop"] : words.listen.listen;
    if (label === this.#shown) return;
    this.#shown = label;
    const name = this.#username;
    this.element.dataset.testid = this.#named ? `listen-${name}` : stop ? "unlisten" : "listen";
    this.element.className = `${this.#named ? "small" : "large"} ${stop ? "stop" : "primary"}`;
    if (this.#named) {
      this.element.setAttribute("aria-label", words.listen[stop ? "stopListening" : "listenTo"](name));
    }
    this.element.replaceChildren(icon(stop ? "stop" : "headphones"), label);
  }

  get #state() {
    return view(this.#visit.listener.facts(this.#username), words.listen);
  }

  #press() {
    const { listener } = this.#visit;
    const { canListen, isListening } = this.#state;
    if (isListening) listener.stop();
    else if (canListen) this.#visit.attempt(() => listener.listen(this.#username));
  }
}
