/** The microphone cannot be used; the message says why and what to do. */
export class MicrophoneError extends Error {}

/** @type {Record<string, string>} */
const SENTENCES = {
  NotAllowedError:
    "The browser may not use the microphone. Allow it in the address bar, then press Start again.",
  NotFoundError: "No microphone was found. Connect one, then press Start again.",
  NotReadableError: "The microphone is in use by another program or is not responding.",
  OverconstrainedError: "The chosen microphone is no longer available. Choose another one.",
};

const INSECURE =
  "Browsers allow the microphone only on pages opened over https or on the same machine. " +
  "Open hushcast at its https address to stream.";

/**
 * The chosen microphone, as it is: no echo cancellation, noise suppression or gain control,
 * because the model was trained on raw sound.
 *
 * Dispatches `lost` when the device disappears while in use, and `muted` when the system or the
 * device mutes it or stops doing so.
 */
export class Microphone extends EventTarget {
  /** @type {MediaStreamTrack | null} */
  #track = null;
  #turn = 0;

  /** The live audio track, null while off. */
  get track() {
    return this.#track;
  }

  /** Whether the system or the device mutes it: what it sends is silence. */
  get muted() {
    return this.#track?.muted ?? false;
  }

  /**
   * Open a device, or the default one, in place of the open one. Returns its track, or null
   * if it was stopped meanwhile. Raises MicrophoneError.
   * @param {string} deviceId an empty one is the default's
   */
  async start(deviceId) {
    const turn = ++this.#turn;
    const track = await open(deviceId);
    if (turn !== this.#turn) {
      track.stop();
      return null;
    }
    this.#track?.stop();
    this.#track = track;
    track.addEventListener("ended", () => this.dispatchEvent(new Event("lost")));
    for (const type of ["mute", "unmute"]) {
      track.addEventListener(type, () => this.dispatchEvent(new Event("muted")));
    }
    return track;
  }

  stop() {
    this.#turn += 1;
    this.#track?.stop(); // does not dispatch "ended"
    this.#track = null;
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
  if (!navigator.mediaDevices) throw new MicrophoneError(INSECURE);
  /** @type {MediaTrackConstraints} */
  const audio = {
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: false,
    channelCount: 1,
  };
  if (deviceId) audio.deviceId = { exact: deviceId };
  try {
    const media = await navigator.mediaDevices.getUserMedia({ audio });
    return media.getAudioTracks()[0];
  } catch (error) {
    const sentence = SENTENCES[error.name] ?? `Could not start the microphone: ${error.message}`;
    throw new MicrophoneError(sentence);
  }
}
