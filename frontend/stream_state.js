/**
 * What the publisher's page says, as a function of what it knows. No DOM, no clock, no network.
 *
 * @import { Stream } from "./api.js"
 * @import { Phase } from "./held.js"
 * @import { en } from "./words/en.js"
 * @typedef {Pick<typeof en, "common" | "stream">} Words
 * @typedef {"off" | "connecting" | "live" | "reconnecting"} State
 * @typedef {"stopped" | "ended" | "absent" | "late" | "unheard" | "taken over" | "failed"} End
 * @typedef {{
 *   phase: Phase, undecided: boolean, starting: boolean, stream: Stream | null, wasLive: boolean, ended: End | null,
 *   problem: string, obstacle: "unreachable" | "no path" | "busy" | null, muted: boolean, systemMuted: boolean, silent: boolean,
 *   serverAway: boolean, hadListeners: boolean,
 * }} Facts
 *   `stream` is null when there is none, or none but the one that this page has just left;
 *   `undecided`: the server has closed the session or withdrawn the stream, and the news that says
 *   why is not there yet: nothing is said until it is; `wasLive`: whether this page's stream was heard since Start; `ended`: how its last one ended;
 *   `problem`: why it failed for good; `obstacle`: why the last attempt failed, while another one
 *   follows; `muted`: by the person; `silent`: the
 *   microphone sends digital silence; `serverAway`: news do not come.
 * @typedef {{
 *   state: State, elsewhere: boolean, sentence: string,
 *   tone: "plain" | "wait" | "trouble", listeners: string,
 * }} View
 *   A page announces the sentence when it changes: it says the state, too.
 */

/**
 * A stream's state as its publisher's page shows it.
 * @param {Facts} facts
 * @returns {State}
 */
export function stateOf({ phase, undecided, starting, stream, wasLive }) {
  if (starting) return "connecting";
  if (phase === "off") return stream?.state ?? "off";
  if (undecided) return "live";
  if (phase !== "connected") return phase;
  if (stream) return wasLive && stream.state === "connecting" ? "reconnecting" : stream.state;
  return wasLive ? "reconnecting" : "connecting";
}

/**
 * Say all that is to be said.
 * @param {Facts} facts
 * @param {Words} words
 * @returns {View}
 */
export function view(facts, words) {
  const state = stateOf(facts);
  const elsewhere = facts.phase === "off" && !facts.starting && state !== "off";
  const { sentence, tone } = judge(facts, state, elsewhere, words);
  return {
    state,
    elsewhere,
    sentence,
    tone,
    listeners: state === "off" ? "" : listeners(facts, words),
  };
}

/**
 * @param {Facts} facts
 * @param {State} state
 * @param {boolean} elsewhere
 * @param {Words} words
 * @returns {{ sentence: string, tone: View["tone"] }}
 */
function judge(facts, state, elsewhere, words) {
  const { sentences: say } = words.stream;
  const plain = (/** @type {string} */ sentence) => ({ sentence, tone: /** @type {const} */ ("plain") });
  const wait = (/** @type {string} */ sentence) => ({ sentence, tone: /** @type {const} */ ("wait") });
  const trouble = (/** @type {string} */ sentence) => ({ sentence, tone: /** @type {const} */ ("trouble") });
  if (state === "off") {
    if (facts.problem) return trouble(facts.problem);
    if (!facts.ended) return plain(say.off);
    const over = ["stopped", "taken over"].includes(facts.ended); // elsewhere too, by now
    return over ? plain(say.ended.stopped) : trouble(say.ended[facts.ended]);
  }
  if (elsewhere) {
    if (facts.problem) return trouble(facts.problem);
    if (facts.ended === "taken over") return plain(say.ended["taken over"]);
    return state === "reconnecting" ? wait(say.elsewhereLost) : plain(say.elsewhere);
  }
  if (state === "connecting") {
    if (facts.starting) return wait(say.opening);
    if (facts.obstacle === "busy") return wait(say.busy);
    if (facts.obstacle === "no path") return wait(say.noPath);
    return wait(facts.serverAway || facts.obstacle ? say.unreachable : say.connecting);
  }
  if (state === "reconnecting") {
    const unreachable = facts.serverAway || facts.obstacle === "unreachable";
    return wait(unreachable ? say.lostServer : say.lost);
  }
  if (facts.systemMuted) return trouble(say.systemMuted);
  if (facts.muted || facts.stream?.muted) return plain(say.muted);
  if (facts.silent) return trouble(say.silent);
  if (facts.stream?.degraded) return wait(passes(facts.stream) ? say.undenoised : say.overloaded);
  return facts.serverAway ? wait(say.newsAway) : plain(say.live);
}

/**
 * Whether a degraded stream is heard with its noise rather than with gaps.
 * @param {Stream} stream
 */
export function passes({ share_original, undenoised_on_overload }) {
  return share_original || undenoised_on_overload;
}

/**
 * @param {Facts} facts
 * @param {Words} words
 */
function listeners({ stream, hadListeners }, words) {
  if (!stream) return "";
  if (stream.listeners) return words.common.listeners(stream.listeners);
  return hadListeners ? words.stream.nobodyNow : words.stream.nobodyYet;
}

/** Silence is digital silence from here down; a quiet room is louder. dBFS. */
const SILENT_DBFS = -90;
const SILENT_AFTER_MS = 4_000;

/** Says when a microphone has sent nothing but digital silence for some seconds. */
export class Silence {
  /** @type {number | null} */
  #since = null;

  /**
   * Take a level in dBFS, null for none, at a time in ms; get whether it is silent.
   * @param {number | null} dbfs
   * @param {number} now
   */
  hear(dbfs, now) {
    if (dbfs === null || dbfs > SILENT_DBFS) this.#since = null;
    else this.#since ??= now;
    return this.#since !== null && now - this.#since >= SILENT_AFTER_MS;
  }
}

/**
 * How good a publisher's connection is, in one word, from what its last seconds were like.
 * @param {{ roundTripMs: number | null, loss: number, gaps: number }} about the loss is a share,
 *   0..1; the gaps are those that could be heard
 * @returns {"good" | "fair" | "poor"}
 */
export function quality({ roundTripMs, loss, gaps }) {
  const roundTrip = roundTripMs ?? 0;
  if (loss >= 0.08 || gaps >= 3 || roundTrip >= 800) return "poor";
  if (loss >= 0.02 || gaps >= 1 || roundTrip >= 300) return "fair";
  return "good";
}
