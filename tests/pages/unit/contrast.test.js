import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const STYLE = new URL("../../../frontend/style/", import.meta.url);
const text = ["base.css", "recordings.css"].map((name) => readFileSync(new URL(name, STYLE), "utf8")).join("\n");

/** The colours of a scheme by name: those of light, and in dark the ones that differ. */
function colours(scheme) {
  const found = {};
  for (const [, media, block] of text.matchAll(/(@media \(prefers-color-scheme: dark\) \{\s*)?:root \{([^}]*)\}/g)) {
    if (media && scheme === "light") continue;
    for (const [, name, value] of block.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)) found[name] = value;
  }
  return found;
}

/** Relative luminance of a colour (WCAG 2.2). */
function luminance(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

const TEXT = [
  ["ink", "paper", "card", "tint"],
  ["soft", "paper", "card", "tint"],
  ["live", "paper", "card"],
  ["wait", "paper", "card"],
  ["wrong", "paper", "card"],
  ["on-accent", "accent"],
  ["card", "live"],
];
const GRAPHICS = [
  ["edge", "paper", "card", "line"],
  ["wave", "paper", "card"],
  ["accent", "paper", "card", "line", "tint"],
];

for (const scheme of ["light", "dark"]) {
  test(`in ${scheme}, text has a contrast of 4.5 and what is drawn one of 3`, () => {
    const colour = colours(scheme);
    for (const [least, pairs] of [[4.5, TEXT], [3, GRAPHICS]]) {
      for (const [name, ...grounds] of pairs) {
        for (const ground of grounds) {
          const found = contrast(colour[name], colour[ground]);
          assert.ok(found >= least, `${name} on ${ground}: ${found.toFixed(2)}`);
        }
      }
    }
  });
}
