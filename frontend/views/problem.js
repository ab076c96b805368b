import { ApiError } from "../api.js";
import { el } from "../dom.js";
import { MicrophoneError } from "../microphone.js";
import { words } from "../words.js";

/** @import { Presence } from "../presence.js" */

/** What went wrong with a part of the view, until that is no longer true or something else is tried. */
export class Problem {
  element;
  #state = "";

  /** @param {{ testid: string }} about */
  constructor({ testid }) {
    this.element = el("p", { class: "error", role: "alert", testid });
  }

  /**
   * Take back that the server cannot be reached once it answers.
   * @param {Presence} presence
   * @param {AbortSignal} signal
   */
  follow(presence, signal) {
    const check = () => {
      const isOver = !presence.isAway && this.element.textContent === words.errors.unreachable;
      if (isOver) this.clear();
    };
    presence.addEventListener("link", check, { signal });
    presence.addEventListener("stream", check, { signal });
  }

  /**
   * What is wrong in one state is not said in the next.
   * @param {string} state
   */
  during(state) {
    if (state !== this.#state) this.clear();
    this.#state = state;
  }

  clear() {
    this.element.textContent = "";
  }

  /**
   * Do it, and say what the server or the microphone has against it.
   * @param {() => Promise<void>} action
   */
  async attempt(action) {
    this.clear();
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof MicrophoneError)) throw error;
      this.element.textContent = error.message;
    }
  }
}
