import { quality } from "./stream_state.js";

/** @import { Stats } from "./api.js" */

const LATELY_MS = 10_000;

/**
 * How well a publisher's sound reaches the server: in one word, and what lies behind it.
 */
export class LinkQuality {
  #gaps = 0;
  #loss = 0;
  /** @type {{ at: number, gaps: number }[]} */
  #history = [];

  /**
   * Take what the server says, at a time in ms.
   * @param {Stats} stats
   * @param {number} now
   */
  hear({ loss, gaps = 0 }, now) {
    this.#loss = loss;
    if (gaps < this.#gaps) this.#history = []; // another actor counts anew
    this.#gaps = gaps;
    const last = this.#history.at(-1);
    if (!last || last.gaps !== gaps) this.#history.push({ at: now, gaps });
  }

  /**
   * Measure the round trip, and judge the last ten seconds.
   * @param {RTCPeerConnection} pc
   * @param {number} now
   */
  async measure(pc, now) {
    const { roundTripMs, loss } = path(await pc.getStats());
    while (this.#history.length > 1 && this.#history[1].at < now - LATELY_MS) this.#history.shift();
    const lately = this.#gaps - (this.#history[0]?.gaps ?? 0);
    const word = quality({ roundTripMs, loss: loss ?? this.#loss, gaps: lately });
    return { word, roundTripMs, loss: this.#loss, gaps: this.#gaps };
  }
}

/**
 * The path in use: its round trip in ms, and what share was lost since the server's last report.
 * Null where it is not known yet.
 * @param {RTCStatsReport} report
 */
function path(report) {
  /** @type {{ roundTripMs: number | null, loss: number | null }} */
  const found = { roundTripMs: null, loss: null };
  for (const entry of report.values()) {
    const used = entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded";
    const told = entry.type === "remote-inbound-rtp";
    const seconds = used ? entry.currentRoundTripTime : told ? entry.roundTripTime : undefined;
    if (seconds !== undefined) found.roundTripMs ??= Math.round(1000 * seconds);
    if (told && entry.fractionLost !== undefined) found.loss = entry.fractionLost;
  }
  return found;
}
