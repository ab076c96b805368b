import { el, setText } from "../dom.js";
import { Announcement } from "./announcement.js";
import { LiveWaveform } from "./live_waveform.js";
import { Timer } from "./timer.js";

/**
 * @import { ServerClock } from "../clock.js"
 * @import { Facts, View } from "../listen_state.js"
 * @import { Listener } from "../listener.js"
 */

/** How a stream that one may hear stands: badge, time, title, sentence, and what is heard of it. */
export class StreamStatus {
  #word = el("span", { testid: "stream-state" });
  #timer;
  #title = el("p", { class: "stream-title", testid: "stream-title" });
  #sentence = el("p", { class: "sentence", testid: "listen-sentence" });
  #announcement = new Announcement();
  #waveform;

  badge = el("span", { class: "badge" }, this.#word);

  /** @param {{ clock: ServerClock, listener: Listener }} parts */
  constructor({ clock, listener }) {
    this.#timer = new Timer(clock, { testid: "timer", class: "clock" });
    this.#waveform = new LiveWaveform(listener);
  }

  get clock() {
    return this.#timer.element;
  }

  /** What stands below the badge, in order. */
  get elements() {
    const texts = [this.#title, this.#sentence, this.#announcement.element];
    return [this.clock, ...texts, this.#waveform.element];
  }

  /**
   * Show these facts, with these words.
   * @param {Facts} facts
   * @param {Pick<View, "badge" | "word" | "sentence" | "announcement" | "isLoss">} view
   */
  render({ stream, phase }, { badge, word, sentence, announcement, isLoss }) {
    this.badge.dataset.state = badge === "muted" ? "live" : badge;
    setText(this.#word, word);
    setText(this.#sentence, sentence);
    this.#announcement.say({ announcement, isLoss });
    setText(this.#title, stream?.title ?? "");
    this.#timer.set(stream?.started_at ?? null);
    this.#waveform.run(phase === "connected");
  }

  /** A page that opens is read from its heading on: announce only what changes. */
  hush() {
    this.#announcement.hush();
  }

  close() {
    this.#announcement.close();
    this.#timer.close();
    this.#waveform.close();
  }
}
