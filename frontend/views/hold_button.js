import { button, icon } from "../dom.js";
import { words } from "../words.js";

/** @import { Listener } from "../listener.js" */

const KEYS = [" ", "Enter"];

/** Hold it, with a pointer or a key, and the noise is there. */
export class HoldButton {
  #listener;
  #abort = new AbortController();

  isHeld = false;
  element = button({ class: "hold", testid: "hold", "aria-pressed": "false" }, icon("noise"), words.listen.hold);

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    const { signal } = this.#abort;
    const { element } = this;
    element.addEventListener("pointerdown", ({ button: which, pointerId }) => {
      if (which) return;
      element.setPointerCapture(pointerId);
      this.#hold(true);
    });
    element.addEventListener("keydown", (event) => {
      if (!KEYS.includes(event.key)) return;
      event.preventDefault();
      this.#hold(true);
    });
    element.addEventListener("keyup", ({ key }) => KEYS.includes(key) && this.#hold(false));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      element.addEventListener(type, () => this.#hold(false));
    }
    element.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
    window.addEventListener("blur", () => this.#hold(false), { signal });
  }

  close() {
    this.#hold(false);
    this.#abort.abort();
  }

  /** @param {boolean} held */
  #hold(held) {
    if (held === this.isHeld) return;
    this.isHeld = held;
    this.element.setAttribute("aria-pressed", String(held));
    this.#listener.hold(held);
  }
}
