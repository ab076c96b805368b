import { el } from "../dom.js";
import { bar, keepDrawn } from "./canvas.js";
import { height } from "./meter.js";

/** @import { Draw } from "./canvas.js" */

const STEP = 5;
const WIDTH = 3;
const KEPT = 400;

/**
 * The last seconds of sound: what the microphone heard, pale, and inside it what the friends
 * hear. The pale part that shows is the noise that was removed.
 */
export class Ribbon {
  #abort = new AbortController();
  /** @type {[number, number][]} */
  #levels = [];
  #redraw;

  element = el("canvas", { class: "ribbon", "aria-hidden": "true" });

  constructor() {
    this.#redraw = keepDrawn(this.element, this.#draw, this.#abort.signal);
  }

  /**
   * @param {number} input
   * @param {number} output
   */
  push(input, output) {
    this.#levels.push([height(input), height(output)]);
    if (this.#levels.length > KEPT) this.#levels.shift();
    this.#redraw();
  }

  clear() {
    this.#levels = [];
    this.#redraw();
  }

  close() {
    this.#abort.abort();
  }

  /** @type {Draw} */
  #draw = (context, width, height, colour) => {
    const middle = height / 2;
    const count = Math.floor(width / STEP);
    const rest = colour("--line");
    const [noise, voice] = [colour("--noise"), colour("--accent")];
    for (let i = 0; i < count; i += 1) {
      const x = width - (i + 1) * STEP;
      const levels = this.#levels[this.#levels.length - 1 - i];
      const [input, output] = levels ?? [0, 0];
      context.fillStyle = levels ? noise : rest;
      bar(context, x, middle, WIDTH, Math.max(WIDTH / 2, input ** 1.6 * middle));
      if (!levels) continue;
      context.fillStyle = voice;
      bar(context, x, middle, WIDTH, Math.max(WIDTH / 2, output ** 1.6 * middle));
    }
  };
}
