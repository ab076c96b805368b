import { el, icon } from "../dom.js";
import { words } from "../words.js";

/** @import { Player } from "../player.js" */

/** The volume of everything that this page plays; every slider shows the same. */
export class Volume {
  #player;
  #abort = new AbortController();
  #input;

  /**
   * @param {Player} player
   * @param {{ testid: string }} about
   */
  constructor(player, { testid }) {
    this.#player = player;
    this.#input = el("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      testid,
      "aria-label": words.listen.volume,
    });
    this.element = el("label", { class: "volume" }, icon("volume"), this.#input);
  }

  start() {
    const { signal } = this.#abort;
    this.#input.addEventListener("input", () => {
      this.#player.volume = this.#input.valueAsNumber;
    });
    this.#player.addEventListener("change", () => this.#render(), { signal });
    this.#render();
  }

  close() {
    this.#abort.abort();
  }

  #render() {
    const { volume } = this.#player;
    if (this.#input.valueAsNumber !== volume) this.#input.value = String(volume);
    this.#input.setAttribute("aria-valuetext", words.listen.percent(volume));
  }
}
