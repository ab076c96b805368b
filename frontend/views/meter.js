import { el } from "../dom.js";
import { words } from "../words.js";

const FLOOR_DBFS = -72;

/**
 * Say how far up a level lies between the meter's floor and full scale, 0..1.
 * @param {number} dbfs
 */
export function height(dbfs) {
  return Math.min(1, Math.max(0, 1 - dbfs / FLOOR_DBFS));
}

/** A level in dBFS, with the highest of the last moments marked. */
export class Meter {
  #bar = el("span", { class: "bar" });
  #peak = el("span", { class: "peak" });
  #number = el("span", { class: "number" });
  #meter;
  #held = FLOOR_DBFS;

  /** @param {{ testid: string, label: string, kind: string }} about */
  constructor({ testid, label, kind }) {
    this.#meter = el(
      "div",
      {
        testid,
        class: "track",
        role: "meter",
        "aria-label": words.stream.level(label),
        "aria-valuemin": -100,
        "aria-valuemax": 0,
      },
      this.#bar,
      this.#peak,
    );
    const name = el("span", { class: "name" }, label);
    this.element = el("div", { class: `meter ${kind}` }, name, this.#meter, this.#number);
    this.set(null);
  }

  /**
   * Show a level, or none at all for null.
   * @param {number | null} dbfs
   */
  set(dbfs) {
    const level = Math.max(-100, Math.min(0, dbfs ?? -100));
    this.#held = Math.max(level, this.#held - 1.5);
    this.#bar.style.setProperty("--level", String(height(level)));
    const peak = height(dbfs === null ? FLOOR_DBFS : this.#held);
    this.#peak.style.setProperty("--level", String(peak));
    this.#meter.setAttribute("aria-valuenow", level.toFixed(1));
    const heard = dbfs === null ? words.stream.noSound : `${Math.round(level)} dBFS`;
    this.#meter.setAttribute("aria-valuetext", heard);
    this.#number.textContent = dbfs === null ? "–" : `${Math.round(level)} dB`;
    if (dbfs === null) this.#held = FLOOR_DBFS;
  }
}
