import assert from "node:assert/strict";
import { test } from "node:test";
import { de } from "../../../frontend/words/de.js";
import { en } from "../../../frontend/words/en.js";

/** List every text with its path, functions called with a name, a number or a list. */
function* texts(words, path = []) {
  for (const [key, value] of Object.entries(words)) {
    if (typeof value === "object") yield* texts(value, [...path, key]);
    else yield { key: [...path, key].join("."), value };
  }
}

test("numbers choose their form in both languages", () => {
  assert.equal(en.common.listeners(1), "1 listener");
  assert.equal(en.common.listeners(0), "0 listeners");
  assert.equal(en.common.listeners(1200), "1,200 listeners");
  assert.equal(de.common.listeners(1), "1 Zuhörer");
  assert.equal(de.common.listeners(1200), "1.200 Zuhörer");
});

test("a title names one friend who is live and counts several", () => {
  assert.equal(en.shell.friendsLiveTitle(["ada"], "x"), "ada is live · x");
  assert.equal(en.shell.friendsLiveTitle(["ada", "bob"], "x"), "2 friends are live · x");
  assert.equal(de.shell.friendsLiveTitle(["ada", "bob"], "x"), "2 Freunde sind live · x");
});

test("the languages have the same texts", () => {
  const keys = (words) => [...texts(words)].map(({ key, value }) => `${key}: ${typeof value}`).sort();
  assert.deepEqual(keys(de), keys(en));
  for (const { key, value } of [...texts(en), ...texts(de)]) {
    if (typeof value === "string") assert.equal(value.trim(), value, key);
  }
});
