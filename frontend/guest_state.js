/**
 * What a guest's page offers and says, besides what every listener's does. No DOM, no network.
 *
 * @import { Facts, View } from "./listen_state.js"
 * @import { en } from "./words/en.js"
 * @typedef {"listen" | "wait" | "stopWaiting" | "stop"} Action
 */

const AUDIBLE = ["live", "reconnecting"];

/**
 * Say what the page's one button does. Pressed before the stream is there, it begins with it.
 * @param {Facts} facts
 * @param {boolean} waits
 * @returns {Action}
 */
export function actionOf({ phase, stream }, waits) {
  if (phase !== "off") return "stop";
  if (AUDIBLE.includes(stream?.state ?? "off")) return "listen";
  return waits ? "stopWaiting" : "wait";
}

/**
 * Say how it stands, if that is not what `view` says.
 * @param {Facts} facts
 * @param {boolean} waits
 * @param {typeof en.links} words
 * @returns {string | null}
 */
export function sentenceOf({ name, stream, phase, away, ended, problem }, waits, words) {
  if (phase !== "off" || away || stream) return null;
  if (waits) return words.willHear(name);
  return ended || problem ? null : words.off(name);
}
