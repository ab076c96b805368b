import { words } from "./words.js";

/** The microphone cannot be used; the message says why and what to do. */
export class MicrophoneError extends Error {}

const GONE = ["OverconstrainedError", "NotFoundError"];

/**
 * The chosen microphone, as it is: no echo cancellation, noise suppression or gain control,
 * because the model was trained on raw sound.
 *
 * Dispatches `muted` when the system or the device mutes it or stops doing so, `replaced` when the
 * default one has taken the place of a device that disappeared, and `lost` with a MicrophoneError
 * when there is none.
 */
export class Microphone extends EventTarget {
  /** @type {MediaStreamTrack | null} */
  #track = null;
  #turn = 0;
  #silenced = false;
  /** @type {string | null} */
  #deviceId = null;
  #note = "";

  /** The live audio track, null while off. */
  get track() {
    return this.#track;
  }

  /** Whether the system or the device mutes it: what it sends is silence. */
  get muted() {
    return this.#track?.muted ?? false;
  }

  /** The device in use: its id, "" for the default one, null for none. */
  get deviceId() {
    return this.#deviceId;
  }

  /** What has become of the device that was asked for; empty while it is used. */
  get note() {
    return this.#note;
  }

  /** Send silence in place of sound from now on, or no longer. */
  set silenced(/** @type {boolean} */ silenced) {
    this.#silenced = silenced;
    if (this.#track) this.#track.enabled = !silenced;
  }

  /**
   * Open a device in place of the open one, or the default one if that is not there. Returns its
   * track, or null if it was stopped meanwhile. Raises MicrophoneError.
   * @param {string} deviceId an empty one is the default's
   */
  async start(deviceId) {
    const turn = ++this.#turn;
    const { track, used } = await open(deviceId);
    if (turn !== this.#turn) {
      track.stop();
      return null;
    }
    this.#track?.stop();
    this.#track = track;
    this.#deviceId = used;
    this.#note = used === deviceId ? "" : words.stream.microphone.fellBack;
    track.enabled = !this.#silenced;
    track.addEventListener("ended", () => this.#replace());
    for (const type of ["mute", "unmute"]) {
      track.addEventListener(type, () => this.dispatchEvent(new Event("muted")));
    }
    return track;
  }

  stop() {
    this.#turn += 1;
    this.#track?.stop(); // does not dispatch "ended"
    this.#track = this.#deviceId = null;
    this.#note = "";
  }

  async #replace() {
    try {
      if (!(await this.start(""))) return;
      this.#note = words.stream.microphone.unplugged;
      this.dispatchEvent(new Event("replaced"));
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      this.dispatchEvent(new CustomEvent("lost", { detail: error }));
    }
  }
}

/** List the microphones as [{id, label}]; empty until the browser may name them. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter(({ kind, label }) => kind === "audioinput" && label)
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/** @param {string} deviceId */
async function open(deviceId) {
  if (!navigator.mediaDevices) throw new MicrophoneError(words.stream.microphone.insecure);
  try {
    return { track: await ask(deviceId), used: deviceId };
  } catch (error) {
    if (!deviceId || !GONE.includes(error.name)) throw refusal(error);
  }
  try {
    return { track: await ask(""), used: "" };
  } catch (error) {
    throw refusal(error);
  }
}

/** @param {string} deviceId */
async function ask(deviceId) {
  /** @type {MediaTrackConstraints} */
  const audio = {
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: false,
    channelCount: 1,
  };
  if (deviceId) audio.deviceId = { exact: deviceId };
  const media = await navigator.mediaDevices.getUserMedia({ audio });
  return media.getAudioTracks()[0];
}

/** @param {DOMException} error */
function refusal(error) {
  const { refusals } = words.stream.microphone;
  const known = refusals[/** @type {keyof typeof refusals} */ (error.name)];
  return new MicrophoneError(known ?? words.stream.microphone.broken(error.message));
}
