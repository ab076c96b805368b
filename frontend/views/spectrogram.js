import { el } from "../dom.js";
import { BANDS } from "../spectrum.js";
import { words } from "../words.js";
import { keepDrawn } from "./canvas.js";

/**
 * @import { Columns } from "../spectrum.js"
 * @import { Draw } from "./canvas.js"
 */

const GAP = 4;
const SHADES = 256;
const [FLOOR_DBFS, CEILING_DBFS] = [-100, -25];
const CALM_MS = 1_000;

const SHADE_OF = Uint8Array.from({ length: 256 }, (_, byte) => {
  const share = (byte / 2 - 120 - FLOOR_DBFS) / (CEILING_DBFS - FLOOR_DBFS);
  return Math.round(Math.max(0, Math.min(1, share)) * (SHADES - 1));
});

/**
 * The last seconds of sound as two pictures, before above after: time to the right, pitch
 * upwards, the louder the stronger. Only new columns are painted; the rest is moved.
 */
export class Spectrogram {
  #abort = new AbortController();
  #columns;
  #strips;
  #next = 0;
  #palette = "";
  #shades = new Uint8ClampedArray(SHADES * 4);
  #askedAt = 0;
  #calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  #redraw;
  #canvas = el("canvas", {
    role: "img",
    testid: "spectrogram",
    "aria-label": words.stream.spectrogram.about,
  });
  #removed = el("figcaption", { class: "removed", testid: "noise-removed" });

  element = el(
    "figure",
    { class: "spectrogram" },
    el(
      "div",
      { class: "pictures" },
      this.#canvas,
      el("span", { class: "before", "aria-hidden": "true" }, words.stream.spectrogram.before),
      el("span", { class: "after", "aria-hidden": "true" }, words.stream.spectrogram.after),
    ),
    this.#removed,
  );

  /** @param {{ columns: number }} size how many there are from the left to the right */
  constructor({ columns }) {
    this.#columns = columns;
    this.#strips = [new Strip(columns), new Strip(columns)];
    this.#redraw = keepDrawn(this.#canvas, this.#draw, this.#abort.signal);
  }

  /**
   * Add columns at the right; those that were lost on the way stay empty.
   * @param {Columns} columns
   */
  push({ first, before, after }) {
    const lost = (first - this.#next + 65_536) % 65_536;
    for (let n = 0; n < Math.min(lost, this.#columns) && lost < 32_768; n += 1) this.#add(null, null);
    for (const [n, column] of before.entries()) this.#add(column, after[n]);
    this.#next = (first + before.length) % 65_536;
    if (this.#calm.matches && Date.now() - this.#askedAt < CALM_MS) return;
    this.#askedAt = Date.now();
    this.#redraw();
  }

  /**
   * Say how much noise is removed: a text, as the picture's alternative.
   * @param {string} text
   */
  say(text) {
    if (text !== this.#removed.textContent) this.#removed.textContent = text;
  }

  clear() {
    for (const strip of this.#strips) strip.clear(this.#shades);
    this.#redraw();
  }

  close() {
    this.#abort.abort();
  }

  /**
   * @param {Uint8Array | null} before
   * @param {Uint8Array | null} after
   */
  #add(before, after) {
    for (const [n, column] of [before, after].entries()) this.#strips[n].add(column, this.#shades);
  }

  /** @type {Draw} */
  #draw = (context, width, height, colour) => {
    this.#mix([0, 1, 2, 3].map((n) => colour(`--heat-${n}`)));
    const half = (height - GAP) / 2;
    for (const [n, strip] of this.#strips.entries()) {
      strip.draw(context, n * (half + GAP), width, half);
    }
  };

  /**
   * Mix the shades from the scheme's colours, and paint anew when these have changed.
   * @param {string[]} colours from silent to loud
   */
  #mix(colours) {
    if (colours.join() === this.#palette) return;
    this.#palette = colours.join();
    const context = surface(SHADES, 1);
    const gradient = context.createLinearGradient(0, 0, SHADES, 0);
    for (const [n, each] of colours.entries()) gradient.addColorStop(n / (colours.length - 1), each);
    context.fillStyle = gradient;
    context.fillRect(0, 0, SHADES, 1);
    this.#shades = context.getImageData(0, 0, SHADES, 1).data;
    for (const strip of this.#strips) strip.paint(this.#shades);
  }
}

/** A picture whose columns are a ring: the oldest is painted over. */
class Strip {
  #columns;
  #bytes;
  #context;
  #image;
  #at = 0;

  /** @param {number} columns */
  constructor(columns) {
    this.#columns = columns;
    this.#bytes = new Uint8Array(columns * BANDS);
    this.#context = surface(columns, BANDS);
    this.#image = this.#context.createImageData(1, BANDS);
  }

  /**
   * @param {Uint8Array | null} column null for an empty one
   * @param {Uint8ClampedArray} shades
   */
  add(column, shades) {
    const bytes = this.#bytes.subarray(this.#at * BANDS, (this.#at + 1) * BANDS);
    if (column) bytes.set(column);
    else bytes.fill(0);
    this.#paintColumn(this.#at, shades);
    this.#at = (this.#at + 1) % this.#columns;
  }

  /** @param {Uint8ClampedArray} shades */
  clear(shades) {
    this.#bytes.fill(0);
    this.paint(shades);
  }

  /** @param {Uint8ClampedArray} shades */
  paint(shades) {
    for (let n = 0; n < this.#columns; n += 1) this.#paintColumn(n, shades);
  }

  /**
   * Draw the ring in order of time.
   * @param {CanvasRenderingContext2D} context
   * @param {number} y
   * @param {number} width
   * @param {number} height
   */
  draw(context, y, width, height) {
    const { canvas } = this.#context;
    const old = this.#columns - this.#at;
    const step = width / this.#columns;
    context.drawImage(canvas, this.#at, 0, old, BANDS, 0, y, old * step, height);
    if (!this.#at) return;
    context.drawImage(canvas, 0, 0, this.#at, BANDS, old * step, y, this.#at * step, height);
  }

  /**
   * @param {number} n
   * @param {Uint8ClampedArray} shades four bytes each
   */
  #paintColumn(n, shades) {
    const { data } = this.#image;
    for (let band = 0; band < BANDS; band += 1) {
      const shade = 4 * SHADE_OF[this.#bytes[n * BANDS + band]];
      data.set(shades.subarray(shade, shade + 4), 4 * (BANDS - 1 - band));
    }
    this.#context.putImageData(this.#image, n, 0);
  }
}

/**
 * A canvas that is never shown.
 * @param {number} width
 * @param {number} height
 */
function surface(width, height) {
  const canvas = el("canvas", { width, height });
  const options = { willReadFrequently: width === SHADES };
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", options));
}
