import { el } from "../dom.js";
import { words } from "../words.js";

/** @typedef {{ word: "good" | "fair" | "poor", roundTripMs: number | null, loss: number, gaps: number }} Measured */

const { quality: say } = words.stream;

/** The publisher's connection in one word, and behind it what it rests on. */
export class ConnectionQuality {
  #word = el("strong", { testid: "quality" });
  #hint = el("span");
  #roundTrip = el("li", { testid: "round-trip" });
  #gaps = el("li", { testid: "gaps" });
  #loss = el("li");

  element = el(
    "details",
    { class: "quality", hidden: true },
    el("summary", {}, `${say.label}: `, this.#word, this.#hint),
    el("ul", { class: "hint" }, this.#roundTrip, this.#gaps, this.#loss),
  );

  /** @param {Measured | null} measured null hides it */
  show(measured) {
    this.element.hidden = !measured;
    if (!measured) return;
    const { word, roundTripMs, loss, gaps } = measured;
    this.element.dataset.word = word;
    this.#word.textContent = say.words[word];
    this.#hint.textContent = word === "poor" ? ` · ${say.poor}` : "";
    this.#roundTrip.textContent = say.roundTrip(roundTripMs);
    this.#gaps.textContent = say.gaps(gaps);
    this.#loss.textContent = say.loss((100 * loss).toFixed(1));
  }
}
