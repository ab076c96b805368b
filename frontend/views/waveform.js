import { formatDuration } from "../clock.js";
import { el } from "../dom.js";
import { words } from "../words.js";
import { bar, fill, keepDrawn } from "./canvas.js";

/** @import { Draw } from "./canvas.js" */

const STEP = 4;
const WIDTH = 2.5;
const HEAD = 1.5;

/**
 * A recording's shape, with the position in it; seeking by pointer or keyboard dispatches
 * `seek` with the time in seconds.
 */
export class Waveform extends EventTarget {
  #abort = new AbortController();
  #canvas = el("canvas", { "aria-hidden": "true" });
  #range = el("input", { type: "range", min: 0, step: "any", value: 0, testid: "seek" });
  /** @type {number[]} */
  #peaks = [];
  #duration = 0;
  #position = 0;
  #redraw;

  element = el("div", { class: "waveform" }, this.#canvas, this.#range);

  constructor() {
    super();
    this.#range.addEventListener("input", () => this.#seek());
    this.#range.addEventListener("keydown", (event) => this.#step(event));
    this.#redraw = keepDrawn(this.#canvas, this.#draw, this.#abort.signal);
  }

  /** @param {string} label */
  set label(label) {
    this.#range.setAttribute("aria-label", label);
  }

  /**
   * Show these peaks, 0..1, over a duration in seconds.
   * @param {number[]} peaks
   * @param {number} duration
   * @param {{ enabled: boolean }} state
   */
  set(peaks, duration, { enabled }) {
    this.#peaks = peaks ?? [];
    this.#duration = duration;
    this.#range.max = String(duration || 1);
    this.#range.disabled = !enabled;
    this.move(this.#position);
  }

  /**
   * Show the position, in seconds.
   * @param {number} position
   */
  move(position) {
    this.#position = position;
    this.#range.value = String(position);
    const time = words.listen.timeOf(formatDuration(position), formatDuration(this.#duration));
    this.#range.setAttribute("aria-valuetext", time);
    this.#redraw();
  }

  close() {
    this.#abort.abort();
  }

  #seek() {
    this.move(Number(this.#range.value));
    this.dispatchEvent(new CustomEvent("seek", { detail: this.#position }));
  }

  /**
   * Arrow keys move by 5 s: a range with step "any" has no step of its own.
   * @param {KeyboardEvent} event
   */
  #step(event) {
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5 };
    const by = steps[event.key];
    if (!by) return;
    event.preventDefault();
    this.#range.value = String(this.#position + by);
    this.#seek();
  }

  /** @type {Draw} */
  #draw = (context, width, height, colour) => {
    const count = Math.floor(width / STEP);
    const middle = height / 2;
    const played = this.#duration ? (this.#position / this.#duration) * count : 0;
    const [before, after] = [new Path2D(), new Path2D()];
    for (let i = 0; i < count; i += 1) {
      const half = Math.max(WIDTH / 2, this.#peak(i, count) * middle);
      bar(i < played ? before : after, i * STEP, middle, WIDTH, half);
    }
    fill(context, before, colour("--accent"));
    fill(context, after, colour("--wave"));
    if (!played) return;
    context.fillStyle = colour("--ink"); // where it is, also for those who see no difference
    context.fillRect(Math.min(played * STEP, width - HEAD), 0, HEAD, height);
  };

  /**
   * The highest peak in one of `count` equal parts.
   * @param {number} i
   * @param {number} count
   */
  #peak(i, count) {
    const from = Math.floor((i * this.#peaks.length) / count);
    const to = Math.max(from + 1, Math.floor(((i + 1) * this.#peaks.length) / count));
    return Math.max(0, ...this.#peaks.slice(from, to)) ** 0.7;
  }
}
