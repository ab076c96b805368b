import { ApiError } from "./api.js";
import { Microphone, MicrophoneError } from "./microphone.js";
import { bandBins, column } from "./spectrum.js";
import { noiseRemoved, writeWav } from "./wav.js";
import { words } from "./words.js";

/**
 * @import { Api } from "./api.js"
 * @import { KeptSettings } from "./kept_settings.js"
 * @typedef {"closed" | "opening" | "ready" | "recording" | "cleaning" | "done"} CheckPhase
 * @typedef {"before" | "after"} Which
 * @typedef {{
 *   which: Which, source: AudioBufferSourceNode, gain: GainNode, analyser: AnalyserNode,
 * }} Voice
 */

const SECONDS = 5;
const LEAST_S = 0.5;
const TICK_MS = 100;
const CROSSFADE_S = 0.03;
const SMALLEST_DBFS = -100;

/**
 * A rehearsal: some seconds from the microphone, and the same cleaned by the server.
 *
 * Both play together from one clock, one of them faded out, so switching happens within a word.
 * Dispatches `change`; `level` in dBFS ten times a second while the microphone is open; `columns`
 * with the spectrum of both while they play.
 */
export class SoundCheck extends EventTarget {
  #api;
  #settings;
  #microphone = new Microphone();
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  /** @type {MediaRecorder | null} */
  #recorder = null;
  /** @type {Record<Which, AudioBuffer> | null} */
  #buffers = null;
  /** @type {Voice[]} */
  #voices = [];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  #endsAt = 0;
  #column = 0;

  #phase = /** @type {CheckPhase} */ ("closed");
  /** @type {Which} which one is heard */
  which = "after";
  problem = "";
  /** @type {number | null} dB */
  noiseRemoved = null;

  /**
   * @param {Api} api
   * @param {KeptSettings} settings
   */
  constructor(api, settings) {
    super();
    this.#api = api;
    this.#settings = settings;
    this.#microphone.addEventListener("replaced", () => this.open());
    const fail = (/** @type {CustomEvent<MicrophoneError>} */ { detail }) => this.#fail(detail);
    this.#microphone.addEventListener("lost", fail);
  }

  get phase() {
    return this.#phase;
  }

  get isPlaying() {
    return this.#voices.length > 0;
  }

  /** Seconds of the recording that are still to come, rounded up. */
  get secondsLeft() {
    return Math.max(0, Math.ceil((this.#endsAt - Date.now()) / 1000));
  }

  /** Open the chosen microphone, also in place of another. */
  async open() {
    this.#pause();
    this.#set("opening");
    try {
      const track = await this.#microphone.start(this.#settings.choices.deviceId);
      if (track) await this.#measure(track);
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.#fail(error);
    }
  }

  /** Record, have it cleaned, and be ready to play both. */
  async record() {
    this.#pause();
    this.#buffers = null;
    this.#set("recording");
    const track = this.#microphone.track;
    const context = this.#context;
    if (!track || !context) return;
    try {
      const recorded = await this.#take(track);
      const before = mono(context, await context.decodeAudioData(await recorded.arrayBuffer()));
      if (!this.#is("recording")) return;
      if (before.duration < LEAST_S) return this.#set("ready", words.stream.check.tooShort);
      this.#set("cleaning");
      const after = await context.decodeAudioData(await this.#clean(before));
      if (!this.#is("cleaning")) return;
      this.#buffers = { before, after };
      this.noiseRemoved = noiseRemoved(before.getChannelData(0), after.getChannelData(0), before.sampleRate);
      this.#set("done");
      this.play();
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof DOMException)) throw error;
      if (!this.#is("closed")) this.#set("ready", error.message);
    }
  }

  /** Play both from the start, again and again. */
  play() {
    const [context, buffers] = [this.#context, this.#buffers];
    if (!context || !buffers || this.isPlaying) return;
    context.resume();
    const length = Math.min(buffers.before.duration, buffers.after.duration);
    const at = context.currentTime + 0.05;
    this.#voices = /** @type {Which[]} */ (["before", "after"]).map((which) => {
      const source = new AudioBufferSourceNode(context, { buffer: buffers[which], loop: true, loopEnd: length });
      const analyser = new AnalyserNode(context, { smoothingTimeConstant: 0 });
      const gain = new GainNode(context, { gain: which === this.which ? 1 : 0 });
      source.connect(analyser).connect(gain).connect(context.destination);
      source.start(at);
      return { which, source, analyser, gain };
    });
    this.#changed();
  }

  pause() {
    this.#pause();
    this.#changed();
  }

  /**
   * Hear this one, from the same moment on.
   * @param {Which} which
   */
  choose(which) {
    this.which = which;
    for (const voice of this.#voices) {
      const { gain } = voice.gain;
      const now = voice.gain.context.currentTime;
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(voice.which === which ? 1 : 0, now + CROSSFADE_S);
    }
    this.#changed();
  }

  /** Let go of microphone and loudspeaker. */
  close() {
    this.#pause();
    clearInterval(this.#ticking);
    if (this.#recorder?.state === "recording") this.#recorder.stop();
    this.#microphone.stop();
    this.#context?.close();
    this.#context = this.#analyser = this.#buffers = null;
    this.noiseRemoved = null;
    this.#set("closed");
  }

  // -- the microphone

  /** @param {MicrophoneError} error */
  #fail(error) {
    this.close();
    this.#set("closed", error.message);
  }

  /** @param {MediaStreamTrack} track */
  async #measure(track) {
    this.#context ??= new AudioContext();
    await this.#context.resume();
    if (!this.#context) return; // closed meanwhile
    this.#analyser?.disconnect();
    this.#analyser = new AnalyserNode(this.#context, { fftSize: 8192 });
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(this.#analyser);
    clearInterval(this.#ticking);
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#set(this.#buffers ? "done" : "ready");
  }

  #tick() {
    if (this.#analyser) this.dispatchEvent(new CustomEvent("level", { detail: level(this.#analyser) }));
    if (this.isPlaying) this.#analyse();
    if (this.phase === "recording") this.#changed();
  }

  /**
   * Record for some seconds, or until the check is closed.
   * @param {MediaStreamTrack} track
   * @returns {Promise<Blob>}
   */
  #take(track) {
    // Chromium can record without loss; the others use what they have.
    const mimeType = ["audio/webm;codecs=pcm", "audio/webm;codecs=opus", "audio/mp4"].find((type) =>
      MediaRecorder.isTypeSupported(type),
    );
    const options = { mimeType, audioBitsPerSecond: 256_000 };
    const recorder = new MediaRecorder(new MediaStream([track]), options);
    /** @type {Blob[]} */
    const pieces = [];
    this.#recorder = recorder;
    this.#endsAt = Date.now() + 1000 * SECONDS;
    return new Promise((resolve) => {
      recorder.addEventListener("dataavailable", ({ data }) => pieces.push(data));
      recorder.addEventListener("stop", () => resolve(new Blob(pieces, { type: recorder.mimeType })));
      recorder.start();
      setTimeout(() => recorder.state === "recording" && recorder.stop(), 1000 * SECONDS);
    });
  }

  /** @param {AudioBuffer} before */
  async #clean(before) {
    const { attenuation_limit_db: limit, post_filter: postFilter, model } = this.#settings.choices;
    const query = new URLSearchParams({
      ...(limit !== null && { attenuation_limit_db: String(limit) }),
      post_filter: String(postFilter),
      ...(model && { model }),
    });
    const wav = writeWav(before.getChannelData(0), before.sampleRate);
    return (await this.#api.sound(`/api/preview?${query}`, wav)).arrayBuffer();
  }

  // -- the loudspeaker

  #analyse() {
    const [before, after] = this.#voices.map(({ analyser }) => spectrum(analyser));
    const detail = { first: this.#column, before: [before], after: [after] };
    this.#column = (this.#column + 1) % 65_536;
    this.dispatchEvent(new CustomEvent("columns", { detail }));
  }

  #pause() {
    for (const { source, gain } of this.#voices) {
      source.stop();
      gain.disconnect();
    }
    this.#voices = [];
  }

  /**
   * Whether that is still the phase, after something was waited for.
   * @param {CheckPhase} phase
   */
  #is(phase) {
    return this.#phase === phase;
  }

  /**
   * @param {CheckPhase} phase
   * @param {string} [problem]
   */
  #set(phase, problem = "") {
    this.#phase = phase;
    this.problem = problem;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Mix all channels into one, as the server does; one that is silent takes nothing away.
 * @param {AudioContext} context
 * @param {AudioBuffer} buffer
 */
function mono(context, buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, n) => buffer.getChannelData(n));
  const sounding = channels.filter((samples) => samples.some((sample) => sample !== 0));
  const mixed = context.createBuffer(1, buffer.length, buffer.sampleRate);
  const out = mixed.getChannelData(0);
  for (const samples of sounding) {
    for (const [n, sample] of samples.entries()) out[n] += sample / sounding.length;
  }
  return mixed;
}

/**
 * The level of the last moments, in dBFS.
 * @param {AnalyserNode} analyser
 */
function level(analyser) {
  const samples = new Float32Array(4800);
  analyser.getFloatTimeDomainData(samples);
  const power = samples.reduce((sum, sample) => sum + sample ** 2, 0) / samples.length;
  return Math.max(SMALLEST_DBFS, 10 * Math.log10(power + 1e-12));
}

/** @param {AnalyserNode} analyser */
function spectrum(analyser) {
  const decibels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(decibels);
  return column(decibels, bandBins(analyser.context.sampleRate, decibels.length));
}
