import { passes } from "./stream_state.js";

/**
 * What the page says of a friend's stream, as a function of what it knows. No DOM, no clock, no
 * network.
 *
 * @import { Stream } from "./api.js"
 * @import { Phase } from "./held.js"
 * @import { en } from "./words/en.js"
 * @typedef {"off" | "connecting" | "live" | "reconnecting" | "muted"} Badge
 * @typedef {{
 *   name: string, stream: Stream | null, phase: Phase, undecided: boolean, hearing: boolean,
 *   sound: "denoised" | "original", away: boolean, ended: boolean, problem: string,
 * }} Facts
 *   `phase`: of this page's listening to this person; `undecided`: the connection is gone, and the
 *   news that says why is not there yet; `hearing`: sound has just arrived;
 *   `away`: the server cannot be reached; `ended`: this page listened until the stream's end;
 *   `problem`: why listening ended, or why the last attempt failed.
 * @typedef {{
 *   badge: Badge, word: string, sentence: string, announcement: string, isLoss: boolean,
 *   canListen: boolean, isListening: boolean,
 * }} View
 *   `announcement` is for screen readers, empty while a state lasts a moment only; `isLoss`: it may
 *   turn out to be an end in a moment, as when a page says goodbye.
 */

const AUDIBLE = ["live", "reconnecting"];
const LOSSES = ["lost", "reconnecting"];

/** @typedef {Exclude<keyof typeof en.listen.sentences, "problem">} Sentence */

/**
 * Say all that is to be said.
 * @param {Facts} facts
 * @param {typeof en.listen} words
 * @param {{ mine?: boolean }} [whose] whether it is the stream of who reads this
 * @returns {View}
 */
export function view(facts, words, { mine = false } = {}) {
  const badge = badgeOf(facts);
  const key = facts.phase === "off" ? waitingFor(facts) : listeningTo(facts);
  const sentence = key === "problem" ? facts.problem : sentenceOf(key, facts.name, words, mine);
  const isShort = key === "connecting" || key === "waiting";
  const same = key === "hearingOriginal" ? words.sentences.hearing(facts.name) : sentence;
  return {
    badge,
    word: words.states[badge],
    sentence,
    announcement: isShort ? "" : same,
    isLoss: LOSSES.includes(key),
    canListen: facts.phase === "off" && AUDIBLE.includes(facts.stream?.state ?? "off"),
    isListening: facts.phase !== "off",
  };
}

/**
 * @param {Sentence} key
 * @param {string} name
 * @param {typeof en.listen} words
 * @param {boolean} mine
 */
function sentenceOf(key, name, words, mine) {
  /** @type {Partial<Record<Sentence, string>>} */
  const own = mine ? words.own : {};
  return own[key] ?? words.sentences[key](name);
}

/**
 * @param {Facts} facts
 * @returns {Badge}
 */
function badgeOf({ stream, phase, undecided, hearing, away }) {
  if (away && !hearing) return "reconnecting";
  if (!stream) return "off";
  if (phase === "reconnecting" && !undecided) return "reconnecting";
  return stream.state === "live" && stream.muted ? "muted" : stream.state;
}

/**
 * @param {Facts} facts
 * @returns {Sentence | "problem"}
 */
function waitingFor({ stream, away, ended, problem }) {
  if (problem) return "problem";
  if (away) return "away";
  if (!stream) return ended ? "ended" : "off";
  if (stream.state === "connecting") return "soon";
  if (stream.state === "reconnecting") return "lost";
  return stream.muted ? "liveMuted" : "live";
}

/**
 * @param {Facts} facts
 * @returns {Sentence}
 */
function listeningTo({ stream, phase, undecided, hearing, sound, away, problem }) {
  if (away && !hearing) return "away";
  if (!stream && !away) return "ended";
  if (phase === "connecting") return problem ? "stillTrying" : "connecting";
  if (stream?.state === "reconnecting") return "lost";
  if (phase === "reconnecting" && !undecided) return problem ? "stillTrying" : "reconnecting";
  if (stream?.muted) return "hearingMuted";
  if (!hearing) return "waiting";
  if (stream?.degraded && sound === "denoised") {
    return passes(stream) ? "hearingUndenoised" : "hearingGaps";
  }
  return sound === "original" ? "hearingOriginal" : "hearing";
}
