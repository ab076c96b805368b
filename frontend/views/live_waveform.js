import { el } from "../dom.js";
import { bar, fill, keepDrawn } from "./canvas.js";
import { height } from "./meter.js";

/**
 * @import { Listener } from "../listener.js"
 * @import { Draw } from "./canvas.js"
 */

const STEP = 5;
const WIDTH = 3;
const KEPT = 400;
const EVERY_MS = 50;

/**
 * The last seconds of what a listener hears. Where the original is there too, it stands behind:
 * what shows of it is the noise that was removed.
 */
export class LiveWaveform {
  #listener;
  #abort = new AbortController();
  /** @type {{ denoised: number, original: number, noisy: boolean }[]} */
  #levels = [];
  /** @type {number | undefined} */
  #timer;
  #redraw;

  element = el("canvas", { class: "live-waveform", "aria-hidden": "true" });

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    this.#redraw = keepDrawn(this.element, this.#draw, this.#abort.signal);
  }

  /** @param {boolean} runs */
  run(runs) {
    if (runs === Boolean(this.#timer)) return;
    clearInterval(this.#timer);
    this.#timer = runs ? setInterval(() => this.#look(), EVERY_MS) : undefined;
    if (!runs) this.#levels = [];
    this.#redraw();
  }

  close() {
    this.run(false);
    this.#abort.abort();
  }

  #look() {
    if (document.hidden) return;
    const { levels, sound } = this.#listener;
    this.#levels.unshift({
      denoised: height(levels.denoised ?? -100),
      original: height(levels.original ?? -100),
      noisy: sound === "original",
    });
    this.#levels.length = Math.min(this.#levels.length, KEPT);
    this.#redraw();
  }

  /** @type {Draw} */
  #draw = (context, width, height, colour) => {
    const middle = height / 2;
    const [rest, noise, voice] = [new Path2D(), new Path2D(), new Path2D()];
    const add = (/** @type {Path2D} */ path, /** @type {number} */ i, /** @type {number} */ level) => {
      const x = width - (i + 1) * STEP;
      bar(path, x, middle, WIDTH, Math.max(WIDTH / 2, level ** 1.6 * middle));
    };
    for (let i = 0; i < Math.floor(width / STEP); i += 1) {
      const levels = this.#levels[i];
      if (!levels) {
        add(rest, i, 0);
        continue;
      }
      const { denoised, original, noisy } = levels;
      if (original > denoised) add(noise, i, original);
      if (!noisy) add(voice, i, denoised);
    }
    fill(context, rest, colour("--line"));
    fill(context, noise, colour("--edge"));
    fill(context, voice, colour("--accent"));
  };
}
