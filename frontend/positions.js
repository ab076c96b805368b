/** @import { Player } from "./player.js" */

const KEY = "hushcast.positions";
const MOST = 200;
const SAVE_EVERY_MS = 2_000;
const NEAR_AN_END_S = 5;

/** Where each recording was left, kept in this browser; none for one heard to its end. */
export class Positions {
  #player;
  /** @type {Map<string, number>} the last heard at the end */
  #positions;
  #savedAt = 0;

  /** @param {Player} player */
  constructor(player) {
    this.#player = player;
    this.#positions = read();
  }

  /** @param {AbortSignal} signal */
  start(signal) {
    this.#player.addEventListener("time", () => this.#note(), { signal });
    this.#player.addEventListener("change", () => this.#player.paused && this.#save(), { signal });
  }

  /**
   * Where to go on, in seconds.
   * @param {string} id
   */
  of(id) {
    return this.#positions.get(id) ?? 0;
  }

  /**
   * Go on there the next time.
   * @param {string} id
   * @param {number} position s
   */
  set(id, position) {
    this.#positions.set(id, position);
    this.#save();
  }

  #note() {
    const { recording, position_s: position, duration_s: duration } = this.#player;
    if (!recording) return;
    this.#positions.delete(recording.id);
    if (isInside(position, duration)) this.#positions.set(recording.id, position);
    if (Date.now() - this.#savedAt > SAVE_EVERY_MS) this.#save();
  }

  #save() {
    this.#savedAt = Date.now();
    const kept = [...this.#positions].slice(-MOST).map(([id, at]) => [id, Math.round(at)]);
    localStorage.setItem(KEY, JSON.stringify(kept));
  }
}

/**
 * Whether a position is worth going back to.
 * @param {number} position
 * @param {number} duration
 */
export function isInside(position, duration) {
  return position > NEAR_AN_END_S && position < duration - NEAR_AN_END_S;
}

/** @returns {Map<string, number>} */
function read() {
  try {
    return new Map(JSON.parse(localStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Map(); // something else wrote there
  }
}
