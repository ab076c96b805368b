import { button, el, icon } from "../dom.js";
import { SoundCheck } from "../sound_check.js";
import { words } from "../words.js";
import { Meter } from "./meter.js";
import { Spectrogram } from "./spectrogram.js";

/**
 * @import { Visit } from "../visit.js"
 * @import { Which } from "../sound_check.js"
 */

const COLUMNS = 50; // five seconds

const { check: say } = words.stream;

/** The check before going live: one's own voice, before and after. */
export class CheckPanel {
  #visit;
  #check;
  #abort = new AbortController();
  #meter = new Meter({ testid: "check-meter", label: words.stream.meters.input, kind: "noise" });
  #spectrogram = new Spectrogram({ columns: COLUMNS });
  #status = el("p", { class: "hint", role: "status", testid: "check-status" });
  #recordText = el("span");
  #record = button({ testid: "check-record" }, icon("microphone"), this.#recordText);
  #play = button({ testid: "check-play", hidden: true }, say.play);
  #sounds = el(
    "fieldset",
    { class: "segments", testid: "check-sound", hidden: true },
    el("legend", {}, say.sound),
  );

  /** Opens and closes the panel. */
  toggle = button(
    { class: "large", testid: "check", "aria-expanded": "false", "aria-controls": "check" },
    say.open,
  );

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#check = new SoundCheck(visit.api, visit.publisher.settings);
    for (const value of ["before", "after"]) {
      const attributes = { type: "radio", name: "check", value, testid: `check-${value}` };
      const label = say[/** @type {Which} */ (value)];
      this.#sounds.append(el("label", {}, el("input", attributes), el("span", {}, label)));
    }
    this.element = el(
      "div",
      { id: "check", class: "check-body", hidden: true },
      el("p", { class: "hint" }, say.explanation),
      this.#meter.element,
      el("div", { class: "row" }, this.#record, this.#play, this.#sounds),
      this.#status,
      this.#spectrogram.element,
    );
  }

  start() {
    const check = this.#check;
    check.addEventListener("change", () => this.#render());
    check.addEventListener("level", (/** @type {CustomEvent} */ { detail }) => this.#meter.set(detail));
    check.addEventListener("columns", (/** @type {CustomEvent} */ { detail }) =>
      this.#spectrogram.push(detail),
    );
    this.toggle.addEventListener("click", () => {
      if (check.phase !== "closed") return check.close();
      this.#hush();
      return check.open();
    });
    const { player } = this.#visit;
    const yieldTo = () => check.isPlaying && (player.live || !player.paused) && check.pause();
    player.addEventListener("change", yieldTo, { signal: this.#abort.signal });
    this.#record.addEventListener("click", () => this.#begin());
    this.#play.addEventListener("click", () => {
      if (check.isPlaying) return check.pause();
      this.#hush();
      return check.play();
    });
    this.#sounds.addEventListener("change", ({ target }) =>
      check.choose(/** @type {Which} */ (/** @type {HTMLInputElement} */ (target).value)),
    );
    this.#render();
  }

  /** Let go of the microphone. */
  stop() {
    if (this.#check.phase !== "closed") this.#check.close();
  }

  /** Use the microphone that has just been chosen. */
  reopen() {
    if (this.#check.phase !== "closed") this.#check.open();
  }

  close() {
    this.#abort.abort();
    this.stop();
    this.#spectrogram.close();
  }

  /** Nothing else sounds meanwhile: the microphone would hear it. */
  #hush() {
    const { player, listener } = this.#visit;
    player.pause();
    if (player.live) listener.stop();
  }

  #begin() {
    if (!["ready", "done"].includes(this.#check.phase)) return;
    this.#hush();
    this.#spectrogram.clear();
    this.#check.record();
  }

  #render() {
    const { phase, problem, which, isPlaying, noiseRemoved, secondsLeft } = this.#check;
    const open = phase !== "closed";
    const done = phase === "done";
    this.element.hidden = !open && !problem;
    this.toggle.textContent = open ? say.close : say.open;
    this.toggle.setAttribute("aria-expanded", String(open));
    const busy = phase === "opening" || phase === "recording" || phase === "cleaning";
    this.#record.setAttribute("aria-disabled", String(busy));
    this.#record.hidden = !open;
    const text = done ? say.again : say.record;
    this.#recordText.textContent = phase === "recording" ? say.left(secondsLeft) : text;
    this.#play.hidden = this.#sounds.hidden = !done;
    this.#play.textContent = isPlaying ? say.pause : say.play;
    for (const radio of this.#sounds.querySelectorAll("input")) radio.checked = radio.value === which;
    this.#spectrogram.element.hidden = !done;
    this.#spectrogram.say(
      noiseRemoved === null ? "" : words.stream.spectrogram.removed(Math.round(noiseRemoved)),
    );
    this.#meter.element.hidden = !open;
    if (!open) this.#meter.set(null);
    this.#say(problem || this.#sentence);
    this.#status.classList.toggle("error", Boolean(problem));
  }

  get #sentence() {
    const { phase } = this.#check;
    if (phase === "recording") return say.recording;
    if (phase === "cleaning") return say.cleaning;
    return phase === "done" ? say.ready : "";
  }

  /** @param {string} text */
  #say(text) {
    if (text !== this.#status.textContent) this.#status.textContent = text;
  }
}
