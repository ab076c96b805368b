import { button, el, icon } from "../dom.js";
import { StateBadge } from "./state_badge.js";
import { Timer } from "./timer.js";
import { Volume } from "./volume.js";

/** @import { Visit } from "../visit.js" */

const SOUNDS = [
  { value: "denoised", label: "Denoised" },
  { value: "original", label: "Original" },
];

/** A person's stream: state, time, Listen and what belongs to it. */
export class ListenCard {
  #visit;
  #username;
  #abort = new AbortController();
  #badge = new StateBadge({ testid: "stream-state" });
  #timer;
  #sentence = el("p", { class: "sentence", role: "status" });
  #listen = button({ class: "primary large", testid: "listen" }, icon("headphones"), "Listen");
  #unlisten = button({ class: "stop large", testid: "unlisten" }, icon("stop"), "Stop listening");
  #volume;
  #sounds = el("fieldset", { class: "segments", testid: "sound" }, el("legend", {}, "Sound"));

  /**
   * @param {Visit} visit
   * @param {string} username
   * @param {{ mine: boolean }} whose
   */
  constructor(visit, username, { mine }) {
    this.#visit = visit;
    this.#username = username;
    this.#timer = new Timer(visit.clock, { testid: "timer", class: "clock" });
    for (const { value, label } of SOUNDS) {
      const radio = el("input", { type: "radio", name: "sound", value, testid: `sound-${value}` });
      this.#sounds.append(el("label", {}, radio, el("span", {}, label)));
    }
    this.#volume = new Volume(visit.player, { testid: "volume" });
    this.element = el(
      "section",
      { class: "card listen", "aria-label": `${username}'s stream` },
      el("div", { class: "row between" }, el("h1", {}, username), this.#badge.element),
      this.#timer.element,
      this.#sentence,
      el("div", { class: "row actions" }, this.#listen, this.#unlisten, this.#volume.element, this.#sounds),
      mine ? el("p", { class: "hint" }, "This is you, as your friends hear you. Use headphones.") : null,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { listener, presence } = this.#visit;
    listener.addEventListener("change", () => this.#render(), { signal });
    listener.addEventListener("ended", () => this.#sayEnded(), { signal });
    presence.addEventListener("stream", () => this.#render(), { signal });
    this.#listen.addEventListener("click", () =>
      this.#visit.attempt(() => listener.listen(this.#username)),
    );
    this.#unlisten.addEventListener("click", () => listener.stop());
    this.#sounds.addEventListener("change", ({ target }) =>
      listener.choose(/** @type {HTMLInputElement} */ (target).value),
    );
    this.#volume.start();
    this.#render();
  }

  close() {
    this.#abort.abort();
    this.#timer.close();
    this.#volume.close();
  }

  get #stream() {
    return this.#visit.presence.streamOf(this.#username);
  }

  #render() {
    const { listener } = this.#visit;
    const stream = this.#stream;
    const state = stream?.state ?? "off";
    const here = listener.username === this.#username;
    const audible = state === "live" || state === "reconnecting";
    this.element.dataset.state = state;
    this.#badge.set(state);
    this.#timer.set(stream?.started_at ?? null);
    this.#listen.hidden = here;
    this.#listen.disabled = !audible;
    this.#unlisten.hidden = !here;
    this.#sounds.hidden = !(here && stream?.share_original);
    const chosen = here ? listener.sound : "denoised";
    for (const radio of this.#sounds.querySelectorAll("input")) radio.checked = radio.value === chosen;
    const phase = here ? listener.phase : "off";
    const text = sentence(this.#username, state, phase, stream?.muted ?? false);
    if (text !== this.#sentence.textContent) this.#sentence.textContent = text;
  }

  #sayEnded() {
    if (!this.#stream) this.#visit.notice.show(`${this.#username}'s stream has ended.`);
  }
}

/**
 * @param {string} name
 * @param {string} state
 * @param {string} phase
 * @param {boolean} muted
 */
function sentence(name, state, phase, muted) {
  if (phase === "connecting") return "Connecting…";
  if (phase === "reconnecting") return "Connection lost. Reconnecting.";
  if (state === "reconnecting") return `${name} lost the connection. The sound comes back when they reconnect.`;
  if (state === "live" && muted) return `${name} is live, but their microphone is muted.`;
  if (phase === "connected") return `You are listening to ${name}.`;
  if (state === "live") return `${name} is live now.`;
  if (state === "connecting") return `${name} is about to go live.`;
  return `${name} is not live. This page will show when they are.`;
}
