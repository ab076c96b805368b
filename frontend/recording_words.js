import { formatDuration } from "./clock.js";
import { words, writeSize } from "./words.js";

/** @import { Recording } from "./api.js" */

/** @param {Recording} recording */
export function isKept({ state }) {
  return state === "ready" || state === "recovered";
}

/**
 * The states, the length and the size of a recording, in a line.
 * @param {Recording} recording
 * @param {number} position where it is played, s
 */
export function describe({ state, duration_s: duration, size_bytes: size }, position) {
  const [at, length] = [formatDuration(position), formatDuration(duration)];
  const parts = [
    words.recordings.states[state],
    duration ? (position ? words.listen.timeOf(at, length) : length) : "",
    size ? writeSize(size) : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

/**
 * Why a recording went.
 * @param {Recording} recording
 * @param {string} self the user's name
 */
export function whyGone({ reason, username }, self) {
  const { gone } = words.recordings;
  if (reason === "owner") return username === self ? gone.own : gone.owner(username);
  return reason ? gone[reason] : gone.own;
}
