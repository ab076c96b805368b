const LOOK_MS = 250;
const SILENT_MS = 2_000;

/** Whether packets of a remote track arrive; `change` when that has changed. */
export class Arrival extends EventTarget {
  /** @type {RTCRtpReceiver | null} */
  #receiver = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #looking;
  #lastPacket = -1;
  #arrivedAt = -Infinity;
  #arrives = false;

  /** Whether one came within the last two seconds. */
  get arrives() {
    return this.#arrives;
  }

  /** @param {RTCRtpReceiver} receiver */
  watch(receiver) {
    clearInterval(this.#looking);
    this.#receiver = receiver;
    this.#lastPacket = -1;
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
  }

  /** @param {RTCRtpReceiver} receiver */
  watches(receiver) {
    return receiver === this.#receiver;
  }

  stop() {
    clearInterval(this.#looking);
    this.#receiver = null;
    this.#arrives = false;
    this.#arrivedAt = -Infinity;
  }

  #look() {
    const [source] = this.#receiver?.getSynchronizationSources() ?? [];
    const now = performance.now();
    if (source && source.rtpTimestamp !== this.#lastPacket) {
      this.#lastPacket = source.rtpTimestamp;
      this.#arrivedAt = now;
    }
    const arrives = now - this.#arrivedAt < SILENT_MS;
    if (arrives === this.#arrives) return;
    this.#arrives = arrives;
    this.dispatchEvent(new Event("change"));
  }
}
