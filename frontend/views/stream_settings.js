import { el, toggle } from "../dom.js";
import { microphones } from "../microphone.js";

/** @import { Visit } from "../visit.js" */

const FULL_DB = 42; // the slider's end: no limit
const PAUSE_MS = 120;
const REMEMBERED = "hushcast.microphone";

/** Settings of the user's own stream: the microphone at any time, the rest while live. */
export class StreamSettings {
  #visit;
  #abort = new AbortController();
  /** @type {number | undefined} */
  #patching;
  #denoise = toggle({
    testid: "denoise-switch",
    label: "Remove noise",
    hint: "Takes effect at once, for everybody",
    on: { change: () => this.#patch({ denoise: this.#denoise.input.checked }) },
  });
  #share = toggle({
    testid: "share-original-switch",
    label: "Share the original sound",
    hint: "Friends can compare before and after",
    on: { change: () => this.#patch({ share_original: this.#share.input.checked }) },
  });
  #amount = el("input", { type: "range", min: 0, max: FULL_DB, step: 3, value: FULL_DB, id: "limit", testid: "attenuation-limit" });
  #amountText = el("output", { for: "limit" });
  #device = el("select", { id: "device", testid: "microphone" });

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    const amount = el(
      "div",
      { class: "setting" },
      el("label", { for: "limit", class: "label" }, "How much noise to remove"),
      this.#amountText,
      this.#amount,
    );
    const device = el(
      "div",
      { class: "setting" },
      el("label", { for: "device", class: "label" }, "Microphone"),
      this.#device,
    );
    this.element = el(
      "div",
      { class: "settings" },
      this.#denoise.element,
      amount,
      this.#share.element,
      device,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { publisher } = this.#visit;
    publisher.addEventListener("change", () => this.#render(), { signal });
    this.#amount.addEventListener("input", () => this.#slide());
    this.#device.addEventListener("change", () => this.#choose());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#listDevices(), { signal });
    publisher.choose(localStorage.getItem(REMEMBERED) ?? "");
    this.#render();
    this.#listDevices();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#patching);
  }

  #render() {
    const { publisher } = this.#visit;
    const live = ["live", "reconnecting"].includes(publisher.state) ? publisher.stream : null;
    const sliding = this.#patching !== undefined;
    for (const input of [this.#denoise.input, this.#share.input, this.#amount]) input.disabled = !live;
    this.#denoise.input.checked = live?.denoise ?? true;
    this.#share.input.checked = live?.share_original ?? false;
    this.#amount.disabled = !live?.denoise;
    if (!sliding) this.#amount.value = String(live?.attenuation_limit_db ?? FULL_DB);
    this.#renderAmount();
    if (publisher.phase === "connected" && !this.#device.dataset.named) this.#listDevices();
  }

  #renderAmount() {
    const limit = this.#limit;
    const text = limit === null ? "all" : `up to ${limit} dB`;
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
    clearTimeout(this.#patching);
    this.#patching = setTimeout(async () => {
      await this.#patch({ attenuation_limit_db: this.#limit });
      this.#patching = undefined;
    }, PAUSE_MS);
  }

  /** @param {object} change */
  async #patch(change) {
    const went = await this.#visit.attempt(() => this.#visit.api.patch("/api/stream", change));
    if (!went) this.#render();
  }

  async #choose() {
    const { value } = this.#device;
    localStorage.setItem(REMEMBERED, value);
    await this.#visit.attempt(() => this.#visit.publisher.choose(value));
  }

  async #listDevices() {
    const devices = (await microphones()).filter(({ id }) => id !== "default");
    const chosen = localStorage.getItem(REMEMBERED) ?? "";
    const options = [{ id: "", label: "Default microphone" }, ...devices];
    this.#device.replaceChildren(
      ...options.map(({ id, label }) => el("option", { value: id, selected: id === chosen }, label)),
    );
    if (devices.length) this.#device.dataset.named = "";
  }
}
