import { el } from "./dom.js";

/** @typedef {"denoised" | "original"} Sound */

const FADE_S = 0.012; // time constant: no click, and faster than a hand
const ANALYSED = 2048; // samples, 43 ms

/**
 * What a listener hears: the tracks of one connection, mixed by Web Audio, out of one audio
 * element, so that phones go on playing in the background.
 *
 * `open()` belongs to a press of the user, `close()` ends it. Dispatches `interrupted` when the
 * system has paused the element.
 */
export class LiveSound extends EventTarget {
  #audio;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {GainNode | null} */
  #mix = null;
  /** @type {MediaStream | null} */
  #mixed = null;
  /** @type {{ denoised: Voice, original: Voice | null } | null} */
  #voices = null;
  /** @type {Sound} */
  #sound = "denoised";
  #volume = 1;

  /** @param {HTMLAudioElement} audio */
  constructor(audio) {
    super();
    this.#audio = audio;
    audio.addEventListener("pause", () => {
      if (audio.srcObject && !audio.ended) this.dispatchEvent(new Event("interrupted"));
    });
  }

  /** 0..1 */
  get volume() {
    return this.#volume;
  }

  set volume(volume) {
    this.#volume = volume;
    this.#audio.volume = volume;
    this.#setMix();
  }

  /** Begin to play. Resolves to whether the browser lets us. */
  async open() {
    if (!this.#context) this.#build();
    this.#context?.resume();
    return this.#play(this.#mixed);
  }

  /**
   * Play these tracks instead of the last ones.
   * @param {{ denoised: MediaStreamTrack, original: MediaStreamTrack | null }} tracks
   */
  connect({ denoised, original }) {
    const [context, mix] = [this.#context, this.#mix];
    if (!context || !mix) return;
    this.#disconnect();
    this.#voices = {
      denoised: new Voice(context, denoised, mix),
      original: original && new Voice(context, original, mix),
    };
    this.show(this.#sound);
    this.#route();
  }

  /**
   * Let the denoised or the original sound be heard, within a moment.
   * @param {Sound} sound
   */
  show(sound) {
    this.#sound = sound;
    const { denoised, original } = this.#voices ?? {};
    const isOriginal = sound === "original" && Boolean(original);
    denoised?.fade(isOriginal ? 0 : 1);
    original?.fade(isOriginal ? 1 : 0);
  }

  /**
   * The present level of each sound in dBFS, null where there is none.
   * @returns {{ denoised: number | null, original: number | null }}
   */
  get levels() {
    return {
      denoised: this.#voices?.denoised.level ?? null,
      original: this.#voices?.original?.level ?? null,
    };
  }

  close() {
    this.#audio.srcObject = null;
    this.#disconnect();
    this.#context?.suspend();
  }

  /** Let the mixer go for good. */
  release() {
    this.close();
    this.#context?.close();
    this.#context = null;
  }

  #build() {
    const context = new AudioContext({ latencyHint: "interactive" });
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
    this.#context = context;
    this.#mixed = destination.stream;
    this.#mix = new GainNode(context);
    this.#mix.connect(destination);
    this.#setMix();
    context.addEventListener("statechange", () => this.#route());
  }

  /** On iOS an element has no volume of its own. */
  #setMix() {
    if (this.#mix) this.#mix.gain.value = this.#audio.volume === this.#volume ? 1 : this.#volume;
  }

  /** Where the system has stopped the mixer, as on a locked phone, the track itself plays. */
  #route() {
    if (!this.#audio.srcObject || !this.#voices) return;
    const runs = this.#context?.state === "running";
    this.#play(runs ? this.#mixed : this.#voices.denoised.media);
    if (!runs) this.#context?.resume();
  }

  /** @param {MediaStream | null} media */
  async #play(media) {
    const audio = this.#audio;
    if (audio.srcObject !== media) audio.srcObject = media;
    try {
      await audio.play();
    } catch (error) {
      return error.name !== "NotAllowedError"; // replaced by the next sound
    }
    return true;
  }

  #disconnect() {
    this.#voices?.denoised.close();
    this.#voices?.original?.close();
    this.#voices = null;
  }
}

/** One remote track in the mix. */
class Voice {
  #context;
  #source;
  #analyser;
  #gain;
  #samples = new Float32Array(ANALYSED);
  // Chromium hands a remote track to Web Audio only while an element plays it (crbug.com/121673).
  #pump = el("audio");

  /**
   * @param {AudioContext} context
   * @param {MediaStreamTrack} track
   * @param {AudioNode} output
   */
  constructor(context, track, output) {
    this.#context = context;
    this.media = new MediaStream([track]);
    this.#pump.muted = true;
    this.#pump.srcObject = this.media;
    this.#pump.play().catch(() => {}); // closed before it began
    this.#source = new MediaStreamAudioSourceNode(context, { mediaStream: this.media });
    this.#analyser = new AnalyserNode(context, { fftSize: ANALYSED });
    this.#gain = new GainNode(context, { gain: 0 });
    this.#source.connect(this.#analyser);
    this.#source.connect(this.#gain).connect(output);
  }

  /** In dBFS, at least -100. */
  get level() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.max(-100, 10 * Math.log10(sum / ANALYSED + 1e-12));
  }

  /** @param {number} to */
  fade(to) {
    this.#gain.gain.setTargetAtTime(to, this.#context.currentTime, FADE_S);
  }

  close() {
    this.#source.disconnect();
    this.#gain.disconnect();
    this.#pump.srcObject = null;
  }
}
