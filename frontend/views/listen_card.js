import { el } from "../dom.js";
import { view } from "../listen_state.js";
import { words } from "../words.js";
import { HoldButton } from "./hold_button.js";
import { ListenButton } from "./listen_button.js";
import { StreamStatus } from "./stream_status.js";
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
  #mine;
  #hint;
  #abort = new AbortController();
  #status;
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
    this.#mine = mine;
    this.#hint = el("p", { class: "hint", testid: "mine", hidden: true }, words.listen.mine);
    this.#status = new StreamStatus(visit);
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
      el("div", { class: "row between" }, el("h1", {}, username), this.#status.badge),
      ...this.#status.elements,
      el("div", { class: "row actions" }, this.#listen.element, this.#hold.element, this.#sounds, this.#volume.element),
      this.#hint,
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
    this.#status.hush();
  }

  close() {
    this.#abort.abort();
    for (const part of [this.#status, this.#hold, this.#volume]) part.close();
  }

  #render() {
    const { listener } = this.#visit;
    const facts = listener.facts(this.#username);
    const shown = view(facts, words.listen, { mine: this.#mine });
    // What concerns the player is announced by the bar, whichever view is shown.
    const announcement = listener.concern === this.#username ? "" : shown.announcement;
    this.#status.render(facts, { ...shown, announcement });
    this.element.dataset.state = this.#status.badge.dataset.state;
    this.element.classList.toggle("noisy", facts.sound === "original");
    this.#listen.render();
    const isHeard = shown.canListen || shown.isListening;
    this.#listen.element.hidden = this.#mine && !isHeard;
    this.#hint.hidden = !this.#mine || !isHeard;
    this.#renderOriginal(shown.isListening && listener.hasOriginal, facts.sound);
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
