import { el, toggle } from "../dom.js";
import { microphones } from "../microphone.js";
import { words } from "../words.js";
import { Problem } from "./problem.js";

/** @import { Visit } from "../visit.js" */
/** @typedef {Parameters<Visit["publisher"]["change"]>[0]} Change */

const FULL_DB = 42; // the slider's end: no limit
const PAUSE_MS = 120;
const NEWS_MS = 1_000; // what the server has answered comes as news a little later
const MAX_TITLE = 80;
/** By what the models are known, and how much later the sound comes out. @type {Record<string, string>} */
const MODELS = {
  dfn2: "DeepFilterNet2 (+50 ms)",
  dfn2_ll: "DeepFilterNet2 LL (+10 ms)",
  dfn3: "DeepFilterNet3 (+30 ms)",
  dfn3_ll: "DeepFilterNet3 LL (+10 ms)",
};

const say = words.stream;

/**
 * Settings of the user's own stream: what the next one begins with, or what this one sounds like.
 * All but the title are kept from stream to stream.
 */
export class StreamSettings {
  #visit;
  #onDevice;
  #abort = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #sliding;
  /** Changes on their way to the server and back: shown until the news has them. @type {Set<Change>} */
  #asked = new Set();
  #denoise = toggle({
    testid: "denoise-switch",
    label: say.noiseReduction,
    hint: say.noiseReductionHint,
    on: { change: () => this.#change({ denoise: this.#denoise.input.checked }) },
  });
  #postFilter = toggle({
    testid: "post-filter-switch",
    label: say.postFilter,
    hint: say.postFilterHint,
    on: { change: () => this.#change({ post_filter: this.#postFilter.input.checked }) },
  });
  #model = el("select", { id: "model", testid: "model" });
  #share = toggle({
    testid: "share-original-switch",
    label: say.share,
    hint: say.shareHint,
    on: { change: () => this.#change({ share_original: this.#share.input.checked }) },
  });
  #passOn = toggle({
    testid: "undenoised-switch",
    label: say.passOn,
    hint: say.passOnHint,
    on: { change: () => this.#change({ undenoised_on_overload: this.#passOn.input.checked }) },
  });
  #amount = el("input", { type: "range", min: 0, max: FULL_DB, step: 3, value: FULL_DB, id: "limit", testid: "attenuation-limit" });
  #amountText = el("output", { for: "limit" });
  #named = false;
  #device = el("select", { id: "device", testid: "microphone", "aria-describedby": "device-note" });
  #deviceNote = el("p", { id: "device-note", class: "hint", role: "status", testid: "microphone-note" });
  #title = el("input", { id: "title", testid: "title", maxlength: MAX_TITLE, autocomplete: "off", "aria-describedby": "title-hint" });
  #problem = new Problem({ testid: "settings-problem" });

  /**
   * @param {Visit} visit
   * @param {{ onDevice: () => void }} calls
   */
  constructor(visit, { onDevice }) {
    this.#visit = visit;
    this.#onDevice = onDevice;
    const { models } = visit;
    this.#model.append(...models.map((name) => el("option", { value: name }, MODELS[name] ?? name)));
    const label = (/** @type {string} */ id, /** @type {string} */ text) =>
      el("label", { for: id, class: "label" }, text);
    this.element = el(
      "div",
      { class: "settings" },
      this.#denoise.element,
      el("div", { class: "setting" }, label("limit", say.strength), this.#amountText, this.#amount),
      this.#postFilter.element,
      models.length > 1 ? el("div", { class: "setting" }, label("model", say.model), this.#model) : null,
      this.#share.element,
      this.#passOn.element,
      el("div", { class: "setting" }, label("device", say.input), this.#device, this.#deviceNote),
      el(
        "div",
        { class: "setting" },
        label("title", say.title),
        this.#title,
        el("p", { id: "title-hint", class: "hint" }, say.titleHint),
      ),
      this.#problem.element,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { publisher, presence } = this.#visit;
    this.#problem.follow(presence, signal);
    publisher.addEventListener("change", () => this.#render(), { signal });
    this.#amount.addEventListener("input", () => this.#slide());
    this.#model.addEventListener("change", () => this.#change({ model: this.#model.value }));
    this.#device.addEventListener("change", () => this.#choose());
    this.#title.addEventListener("change", () => this.#change({ title: this.#title.value.trim() || null }));
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#listDevices(), { signal });
    this.#render();
    this.#listDevices();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#sliding);
  }

  #render() {
    const { publisher } = this.#visit;
    const live = ["live", "reconnecting"].includes(publisher.state) ? publisher.stream : null;
    const known = live ?? { title: publisher.title, ...publisher.settings.choices };
    const shown = /** @type {typeof known} */ (Object.assign({}, known, ...this.#asked));
    const { title, denoise, attenuation_limit_db: limit } = shown;
    const { share_original: share, undenoised_on_overload: passOn } = shown;
    this.#problem.during(publisher.state);
    const busy = publisher.state === "connecting"; // the offer is on its way with them
    const inputs = [this.#denoise.input, this.#share.input, this.#passOn.input, this.#title];
    for (const input of inputs) input.disabled = busy;
    this.#denoise.input.checked = denoise;
    this.#postFilter.input.checked = shown.post_filter;
    this.#model.value = shown.model || this.#visit.models[0];
    for (const input of [this.#postFilter.input, this.#model, this.#amount]) {
      input.disabled = busy || !denoise;
    }
    this.#share.input.checked = share;
    this.#passOn.input.checked = share || passOn;
    this.#passOn.input.disabled ||= share || !denoise; // there is nothing left to allow
    if (this.#sliding === undefined) this.#amount.value = String(limit ?? FULL_DB);
    this.#renderAmount();
    if (document.activeElement !== this.#title) this.#title.value = title ?? "";
    this.#renderDevice();
  }

  /** Show the microphone that is used, or else the one that is going to be. */
  #renderDevice() {
    const { publisher } = this.#visit;
    const { deviceInUse, deviceNote } = publisher;
    if (deviceNote !== this.#deviceNote.textContent) this.#deviceNote.textContent = deviceNote;
    if (deviceInUse !== null && !this.#named) this.#listDevices();
    const shown = deviceInUse ?? publisher.settings.choices.deviceId;
    const listed = [...this.#device.options].some(({ value }) => value === shown);
    this.#device.value = listed ? shown : "";
  }

  #renderAmount() {
    const limit = this.#limit;
    const text = limit === null ? say.strengthAll : say.strengthUpTo(limit);
    this.#amountText.textContent = text;
    this.#amount.setAttribute("aria-valuetext", text);
  }

  /** The limit in dB that the slider stands for, null at its end. */
  get #limit() {
    const value = Number(this.#amount.value);
    return value >= FULL_DB ? null : value;
  }

  #slide() {
    this.#renderAmount();
    clearTimeout(this.#sliding);
    this.#sliding = setTimeout(() => {
      this.#sliding = undefined;
      this.#change({ attenuation_limit_db: this.#limit });
    }, PAUSE_MS);
  }

  /** @param {Change} change */
  #change(change) {
    this.#asked.add(change);
    return this.#attempt(async () => {
      try {
        await this.#visit.publisher.change(change);
        setTimeout(() => this.#forget(change), NEWS_MS);
      } catch (error) {
        this.#asked.delete(change);
        throw error;
      }
    });
  }

  /** @param {Change} change */
  #forget(change) {
    this.#asked.delete(change);
    if (!this.#abort.signal.aborted) this.#render();
  }

  #choose() {
    return this.#attempt(async () => {
      await this.#visit.publisher.choose(this.#device.value);
      this.#onDevice();
    });
  }

  /** @param {() => Promise<void>} action */
  async #attempt(action) {
    await this.#problem.attempt(action);
    this.#render();
  }

  async #listDevices() {
    const named = await microphones();
    const devices = named.filter(({ id }) => id !== "default");
    const options = [{ id: "", label: say.defaultDevice }, ...devices];
    this.#device.replaceChildren(...options.map(({ id, label }) => el("option", { value: id }, label)));
    // Whoever uses a microphone may know its name; a list without any does not get longer by asking.
    this.#named = named.length > 0 || this.#visit.publisher.deviceInUse !== null;
    this.#renderDevice();
  }
}
