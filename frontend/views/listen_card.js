import { el } from "../dom.js";
import { view } from "../listen_state.js";
import { words } from "../words.js";
import { HoldButton } from "./hold_button.js";
import { ListenButton } from "./listen_button.js";
import { LiveWaveform } from "./live_waveform.js";
import { Timer } from "./timer.js";
import { Volume } from "./volume.js";

/**
 * @import { Sound } from "../live_sound.js"
 * @import { Visit } from "../visit.js"
 */

const SOUNDS = /** @type {const} */ (["denoised", "original"]);

/** A person's stream: state, time, Listen and what belongs to it. */
export class ListenCard {
  #visit;
  #username;
  #abort = new AbortController();
  #word = el("span", { testid: "stream-state" });
  #badge = el("span", { class: "badge" }, this.#word);
  #timer;
  #title = el("p", { class: "stream-title", testid: "stream-title" });
  #sentence = el("p", { class: "sentence", testid: "listen-sentence" });
  #announcement = el("p", { class: "unseen", role: "status" });
  #waveform;
  #listen;
  #hold;
  #volume;
  #sounds = el("fieldset", { class: "segments", testid: "sound" }, el("legend", {}, words.listen.sound));

  /**
   * @param {Visit} visit
   * @param {string} username
   * @param {{ mine: boolean }} whose
   */
  constructor(visit, username, { mine }) {
    this.#visit = visit;
    this.#username = username;
    this.#timer = new Timer(visit.clock, { testid: "timer", class: "clock" });
    this.#waveform = new LiveWaveform(visit.listener);
    this.#listen = new ListenButton(visit, username);
    this.#hold = new HoldButton(visit.listener);
    this.#volume = new Volume(visit.player, { testid: "volume" });
    for (const value of SOUNDS) {
      const radio = el("input", { type: "radio", name: "sound", value, testid: `sound-${value}` });
      this.#sounds.append(el("label", {}, radio, el("span", {}, words.listen[value])));
    }
    this.element = el(
      "section",
      { class: "card listen", "aria-label": words.listen.streamOf(username) },
      el("div", { class: "row between" }, el("h1", {}, username), this.#badge),
      this.#timer.element,
      this.#title,
      this.#sentence,
      this.#announcement,
      this.#waveform.element,
      el("div", { class: "row actions" }, this.#listen.element, this.#hold.element, this.#sounds, this.#volume.element),
      mine ? el("p", { class: "hint" }, words.listen.mine) : null,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { listener, presence } = this.#visit;
    listener.addEventListener("change", () => this.#render(), { signal });
    presence.addEventListener("stream", () => this.#render(), { signal });
    this.#sounds.addEventListener("change", ({ target }) =>
      listener.choose(/** @type {Sound} */ (/** @type {HTMLInputElement} */ (target).value)),
    );
    this.#volume.start();
    this.#render();
    this.#announcement.textContent = ""; // a page that opens is read from its heading on
  }

  close() {
    this.#abort.abort();
    for (const part of [this.#timer, this.#waveform, this.#hold, this.#volume]) part.close();
  }

  #render() {
    const { listener } = this.#visit;
    const facts = listener.facts(this.#username);
    const { badge, word, sentence, announcement, isListening } = view(facts, words.listen);
    const { stream } = facts;
    this.element.dataset.state = this.#badge.dataset.state = badge === "muted" ? "live" : badge;
    this.element.classList.toggle("noisy", facts.sound === "original");
    set(this.#word, word);
    set(this.#sentence, sentence);
    // What concerns the player is announced by the bar, whichever view is shown.
    set(this.#announcement, listener.concern === this.#username ? "" : announcement);
    set(this.#title, stream?.title ?? "");
    this.#timer.set(stream?.started_at ?? null);
    this.#listen.render();
    this.#waveform.run(facts.phase === "connected");
    this.#renderOriginal(isListening && listener.hasOriginal, facts.sound);
  }

  /**
   * @param {boolean} there
   * @param {Sound} sound
   */
  #renderOriginal(there, sound) {
    for (const part of [this.#sounds, this.#hold.element]) part.hidden = !there;
    if (this.#hold.isHeld) return; // the choice is what it was
    for (const radio of this.#sounds.querySelectorAll("input")) radio.checked = radio.value === sound;
  }
}

/**
 * Set a text unless it is the same, so that screen readers do not read it again.
 * @param {HTMLElement} element
 * @param {string} text
 */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
