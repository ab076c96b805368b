import { ApiError } from "../api.js";
import { button, el, icon } from "../dom.js";
import { storageWarning } from "../storage.js";
import { view } from "../stream_state.js";
import { words } from "../words.js";
import { Audience } from "./audience.js";
import { CheckPanel } from "./check_panel.js";
import { confirm } from "./confirm.js";
import { ConnectionQuality } from "./connection_quality.js";
import { Meter } from "./meter.js";
import { onPress } from "./press.js";
import { Problem } from "./problem.js";
import { Spectrogram } from "./spectrogram.js";
import { StateBadge } from "./state_badge.js";
import { StreamSettings } from "./stream_settings.js";
import { Timer } from "./timer.js";

/**
 * @import { Stats } from "../api.js"
 * @import { View } from "../stream_state.js"
 * @import { Visit } from "../visit.js"
 */

const SILENT_AFTER_MS = 1_000;
const COLUMNS = 125; // ten seconds

const say = words.stream;

/** The user's own stream: the check before it, Start and Stop, state, time, sound, settings. */
export class StreamCard {
  #visit;
  #abort = new AbortController();
  #badge = new StateBadge({ testid: "stream-state" });
  #timer;
  #spectrogram = new Spectrogram({ columns: COLUMNS });
  #input = new Meter({ testid: "input-meter", label: say.meters.input, kind: "noise" });
  #output = new Meter({ testid: "output-meter", label: say.meters.output, kind: "voice" });
  #quality = new ConnectionQuality();
  #listeners = el("span", { class: "listeners", testid: "listeners" });
  #sentence = el("p", { class: "sentence", role: "status", testid: "stream-sentence" });
  #problem = new Problem({ testid: "stream-problem" });
  #storage = el("p", { class: "hint", testid: "storage", hidden: true });
  #startIcon = el("span", { class: "icon-slot" }, icon("microphone"));
  #startText = el("span", {}, say.start);
  #main = button({ class: "primary large", testid: "start" }, this.#startIcon, this.#startText);
  #stopElsewhere = button({ class: "stop large", hidden: true }, icon("stop"), say.stop);
  #mute = button({ class: "large", testid: "mute", hidden: true }, say.mute);
  #live;
  #audience;
  #check;
  #settings;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  /** @type {number | null} */
  #removedDb = null;

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#timer = new Timer(visit.clock, { testid: "timer", class: "clock" });
    this.#audience = new Audience(visit);
    this.#check = new CheckPanel(visit);
    this.#settings = new StreamSettings(visit, { onDevice: () => this.#check.reopen() });
    this.#live = el(
      "div",
      { class: "on-air-sound", hidden: true },
      this.#spectrogram.element,
      el("div", { class: "meters" }, this.#input.element, this.#output.element),
      this.#quality.element,
    );
    this.element = el(
      "section",
      { class: "card stream", "aria-label": say.heading },
      el("div", { class: "row between" }, this.#badge.element, this.#listeners),
      this.#timer.element,
      this.#sentence,
      this.#live,
      this.#storage,
      el(
        "div",
        { class: "row actions" },
        this.#main,
        this.#mute,
        this.#stopElsewhere,
        this.#check.toggle,
      ),
      this.#problem.element,
      this.#audience.element,
      this.#check.element,
      this.#settings.element,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { publisher, presence, username } = this.#visit;
    const on = (/** @type {string} */ type, /** @type {(event: any) => void} */ listener) =>
      publisher.addEventListener(type, listener, { signal });
    on("change", () => this.#render());
    on("stats", ({ detail }) => this.#show(detail));
    on("columns", ({ detail }) => this.#spectrogram.push(detail));
    on("quality", ({ detail }) => this.#quality.show(detail));
    onPress(this.#main, () => this.#press());
    onPress(this.#mute, () => this.#problem.attempt(() => publisher.mute(!publisher.isMutedByPerson)));
    onPress(this.#stopElsewhere, () => this.#end());
    const onRecording = (/** @type {CustomEvent} */ { detail }) => {
      if (detail.recording.username === username) this.#ask();
    };
    presence.addEventListener("recording", onRecording, { signal });
    this.#problem.follow(presence, signal);
    publisher.isShown = true;
    this.#audience.start();
    this.#check.start();
    this.#settings.start();
    this.#ask();
    this.#render();
  }

  close() {
    this.#visit.publisher.isShown = false;
    this.#abort.abort();
    clearTimeout(this.#silence);
    for (const part of [this.#timer, this.#spectrogram, this.#audience, this.#check, this.#settings]) part.close();
  }

  /** Say, before Start too, if recordings have little room left. */
  async #ask() {
    try {
      this.#storage.textContent = storageWarning((await this.#visit.askAboutMe()).storage);
      this.#storage.hidden = !this.#storage.textContent;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // told at the limit, too
    }
  }

  #press() {
    const { publisher } = this.#visit;
    if (publisher.state !== "off" && !publisher.isElsewhere) return this.#end();
    this.#check.stop();
    return publisher.start();
  }

  /** Stop; while people listen, only after a question. */
  async #end() {
    const { publisher } = this.#visit;
    const listening = publisher.stream?.listeners ?? 0;
    const question = {
      question: say.stopQuestion,
      consequence: say.stopConsequence(listening),
      yes: say.stop,
    };
    if (listening && !(await confirm(question))) return;
    await this.#problem.attempt(() => (publisher.isElsewhere ? publisher.stopElsewhere() : publisher.stop()));
  }

  #render() {
    const { publisher } = this.#visit;
    const { facts } = publisher;
    const shown = view(facts, words);
    const { state, elsewhere } = shown;
    const here = publisher.phase !== "off";
    this.element.dataset.state = state;
    this.#problem.during(state);
    this.#badge.set(state);
    this.#timer.set(state === "off" ? null : (facts.stream?.started_at ?? null));
    this.#listeners.textContent = shown.listeners;
    this.#say(shown);
    this.#renderButtons(state === "off" || elsewhere, elsewhere);
    this.#mute.hidden = !here || state === "connecting";
    this.#mute.textContent = publisher.isMutedByPerson ? say.unmute : say.mute;
    this.#live.hidden = !here;
    this.#check.toggle.hidden = state !== "off";
    if (!here) this.#hush();
  }

  /** @param {View} shown */
  #say({ sentence, tone }) {
    this.#sentence.dataset.tone = tone;
    if (sentence !== this.#sentence.textContent) this.#sentence.textContent = sentence;
  }

  /**
   * One button starts and stops, so focus stays where it is.
   * @param {boolean} starts
   * @param {boolean} elsewhere
   */
  #renderButtons(starts, elsewhere) {
    const kind = starts ? "start" : "stop";
    this.#stopElsewhere.hidden = !elsewhere;
    this.#stopElsewhere.dataset.testid = elsewhere ? "stop" : "";
    this.#startText.textContent = elsewhere ? say.startHere : say[kind];
    if (this.#main.dataset.testid === kind) return;
    this.#main.dataset.testid = kind;
    this.#main.className = starts ? "primary large" : "stop large";
    this.#startIcon.replaceChildren(icon(starts ? "microphone" : "stop"));
  }

  /** @param {Stats} stats */
  #show({ input_dbfs: input, output_dbfs: output, noise_removed_db: removed }) {
    const { publisher } = this.#visit;
    if (publisher.phase === "off") return;
    this.#input.set(input);
    this.#output.set(output);
    if (removed !== undefined) this.#showRemoved(removed);
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#hush(), SILENT_AFTER_MS);
  }

  /** @param {number | null} removed dB, null before the first pause */
  #showRemoved(removed) {
    const { spectrogram: text } = say;
    this.#removedDb = removed ?? this.#removedDb;
    if (this.#visit.publisher.stream?.denoise === false) return this.#spectrogram.say(text.off);
    const known = this.#removedDb !== null;
    this.#spectrogram.say(known ? text.removed(Math.round(this.#removedDb ?? 0)) : text.measuring);
  }

  #hush() {
    clearTimeout(this.#silence);
    this.#input.set(null);
    this.#output.set(null);
    if (this.#visit.publisher.phase !== "off") return;
    this.#quality.show(null);
    this.#spectrogram.clear();
    this.#removedDb = null;
  }
}
