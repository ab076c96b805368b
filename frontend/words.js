import { de } from "./words/de.js";
import { en } from "./words/en.js";

const LANGUAGES = { en, de };

/** The first of the browser's languages that the pages speak, as its BCP 47 tag. */
export const language = spoken(navigator.languages ?? [navigator.language]);

/** Everything that the pages say, in that language. */
export const words = LANGUAGES[language];

/** @param {readonly string[]} wanted */
function spoken(wanted) {
  for (const tag of wanted) {
    const [base] = tag.toLowerCase().split("-");
    if (base === "en" || base === "de") return base;
  }
  return "en";
}
