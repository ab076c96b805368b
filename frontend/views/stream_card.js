import { ApiError } from "../api.js";
import { button, el, icon } from "../dom.js";
import { storageWarning } from "../storage.js";
import { Meter } from "./meter.js";
import { Ribbon } from "./ribbon.js";
import { StateBadge } from "./state_badge.js";
import { StreamSettings } from "./stream_settings.js";
import { Timer } from "./timer.js";

/**
 * @import { Stats } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const SILENT_AFTER_MS = 1_000;

/** @type {Record<string, string>} */
const SENTENCES = {
  off: "Nobody hears you until you press Start.",
  live: "Your friends can hear you.",
  connecting: "Connecting to your microphone and the server.",
  reconnecting: "Connection lost. Reconnecting.",
  elsewhere: "This stream comes from another page or device.",
  muted: "Your microphone is muted by the system or on the device: nobody hears you.",
};

/** The user's own stream: Start and Stop, state, time, levels, settings. */
export class StreamCard {
  #visit;
  #abort = new AbortController();
  #badge = new StateBadge({ testid: "stream-state" });
  #timer;
  #ribbon = new Ribbon();
  #input = new Meter({ testid: "input-meter", label: "Microphone", kind: "noise" });
  #output = new Meter({ testid: "output-meter", label: "Friends hear", kind: "voice" });
  #listeners = el("span", { class: "listeners", testid: "listeners" });
  #sentence = el("p", { class: "sentence" });
  #quality = el("p", { class: "quality hint" });
  #storage = el("p", { class: "hint", testid: "storage", hidden: true });
  #startText = el("span", {}, "Start");
  #start = button({ class: "primary large", testid: "start" }, icon("microphone"), this.#startText);
  #stop = button({ class: "stop large", testid: "stop" }, icon("stop"), "Stop");
  #settings;
  /** @type {number | undefined} */
  #silence;

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#timer = new Timer(visit.clock, { testid: "timer", class: "clock" });
    this.#settings = new StreamSettings(visit);
    this.element = el(
      "section",
      { class: "card stream", "aria-label": "Your stream" },
      el("div", { class: "row between" }, this.#badge.element, this.#listeners),
      this.#timer.element,
      this.#sentence,
      this.#ribbon.element,
      el("div", { class: "meters" }, this.#input.element, this.#output.element),
      this.#quality,
      this.#storage,
      el("div", { class: "row actions" }, this.#start, this.#stop),
      this.#settings.element,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { publisher } = this.#visit;
    publisher.addEventListener("change", () => this.#render(), { signal });
    const onStats = (/** @type {CustomEvent<Stats>} */ { detail }) => this.#show(detail);
    publisher.addEventListener("stats", onStats, { signal });
    this.#start.addEventListener("click", () => this.#visit.attempt(() => publisher.start()));
    this.#stop.addEventListener("click", () => this.#visit.attempt(() => this.#end()));
    const onRecording = (/** @type {CustomEvent} */ { detail }) => {
      if (detail.recording.username === this.#visit.username) this.#ask();
    };
    this.#visit.presence.addEventListener("recording", onRecording, { signal });
    this.#settings.start();
    this.#ask();
    this.#render();
    this.#hush();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#silence);
    for (const part of [this.#timer, this.#ribbon, this.#settings]) part.close();
  }

  /** Say, before Start too, if recordings have little room left. */
  async #ask() {
    try {
      this.#storage.textContent = storageWarning((await this.#visit.api.get("/api/me")).storage);
      this.#storage.hidden = !this.#storage.textContent;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // told at the limit, too
    }
  }

  async #end() {
    const { publisher } = this.#visit;
    this.#stop.disabled = true;
    try {
      if (publisher.isElsewhere) await publisher.stopElsewhere();
      else await publisher.stop();
    } finally {
      this.#stop.disabled = false;
    }
  }

  #render() {
    const { publisher } = this.#visit;
    const { state, stream, isElsewhere } = publisher;
    const off = state === "off";
    this.element.dataset.state = state;
    this.#badge.set(state);
    this.#timer.set(off ? null : (stream?.started_at ?? null));
    this.#listeners.textContent = off || !stream ? "" : count(stream.listeners);
    const muted = state === "live" && (publisher.muted || stream?.muted);
    this.#sentence.textContent = SENTENCES[muted ? "muted" : isElsewhere ? "elsewhere" : state];
    this.#start.hidden = !off && !isElsewhere;
    this.#startText.textContent = isElsewhere ? "Stream from here" : "Start";
    this.#stop.hidden = off;
    if (off) this.#hush();
  }

  /** @param {Stats} stats */
  #show({ input_dbfs: input, output_dbfs: output, late_hops: late, loss }) {
    if (this.#visit.publisher.phase === "off") return;
    this.#input.set(input);
    this.#output.set(output);
    this.#ribbon.push(input ?? -100, output ?? -100);
    this.#quality.textContent = loss > 0.01 || late > 0 ? trouble(loss, late) : "";
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#hush(), SILENT_AFTER_MS);
  }

  #hush() {
    clearTimeout(this.#silence);
    this.#input.set(null);
    this.#output.set(null);
    this.#quality.textContent = "";
    if (this.#visit.publisher.state === "off") this.#ribbon.clear();
  }
}

/** @param {number} listeners */
function count(listeners) {
  if (!listeners) return "Nobody is listening yet";
  return listeners === 1 ? "1 listener" : `${listeners} listeners`;
}

/**
 * Say what impairs the sound; the loss is a share, 0..1.
 * @param {number} loss
 * @param {number} late
 */
function trouble(loss, late) {
  const parts = [];
  if (loss > 0.01) parts.push(`${(loss * 100).toFixed(1)} % of your sound was lost on the way`);
  if (late > 0) parts.push(`${late} moments of sound were processed late`);
  return parts.join(" · ");
}
