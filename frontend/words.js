import { de } from "./words/de.js";
import { en } from "./words/en.js";

const LANGUAGES = { en, de };

const chosen = choose(navigator.languages ?? [navigator.language]);

/** The first of the browser's languages that the pages speak. */
export const language = chosen.language;

/** The same as the browser names it, with its region: for dates and numbers. */
export const locale = chosen.locale;

/** Everything that the pages say, in that language. */
export const words = LANGUAGES[language];

const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const moment = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/**
 * Write the day of an RFC 3339 time.
 * @param {string} time
 */
export function writeDay(time) {
  return day.format(new Date(time));
}

/**
 * Write an RFC 3339 time to the minute.
 * @param {string} time
 */
export function writeMoment(time) {
  return moment.format(new Date(time));
}

/**
 * Write a size in MB or GB, with at most so many digits after the point.
 * @param {number} bytes
 * @param {number} [digits]
 */
export function writeSize(bytes, digits = 1) {
  const [unit, size] = bytes < 1e9 ? ["MB", bytes / 1e6] : ["GB", bytes / 1e9];
  return `${size.toLocaleString(locale, { maximumFractionDigits: digits })} ${unit}`;
}

/** @param {readonly string[]} wanted */
function choose(wanted) {
  for (const tag of wanted) {
    const [base] = tag.toLowerCase().split("-");
    if (base === "en" || base === "de") return /** @type {const} */ ({ language: base, locale: tag });
  }
  return /** @type {const} */ ({ language: "en", locale: "en" });
}
