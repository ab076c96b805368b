import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { de } from "../../../frontend/words/de.js";
import { en } from "../../../frontend/words/en.js";
import { SERVER_DE } from "../../../frontend/words/server_de.js";

const ROOT = new URL("../../../", import.meta.url);

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

test("what the server says is said in German, with its names and numbers", () => {
  assert.equal(de.errors.told("Wrong password."), "Das Passwort ist falsch.");
  assert.equal(de.errors.told("There is no user called eve."), "Es gibt niemanden mit dem Namen eve.");
  assert.equal(de.errors.told("A password has 8 to 128 characters."), "Ein Passwort hat 8 bis 128 Zeichen.");
  assert.equal(de.errors.told("You already listen to ada 4 times."), "Du hörst ada schon 4-mal.");
  assert.equal(de.errors.told("Something new."), "Something new.");
  assert.equal(en.errors.told("Wrong password."), "Wrong password.");
});

test("the server says every sentence that is translated, word for word", () => {
  const folders = ["serve_app", "serve_app/routes", "actors", "deployments", "recordings"];
  const sources = folders
    .flatMap((folder) => readdirSync(new URL(`${folder}/`, ROOT)).map((name) => `${folder}/${name}`))
    .filter((path) => path.endsWith(".py"))
    .map((path) => readFileSync(new URL(path, ROOT), "utf8"))
    .join("\n")
    .replace(/"\s+f?"/g, ""); // strings that Python joins
  for (const [english, german] of SERVER_DE) {
    for (const part of english.split("{}")) assert.ok(sources.includes(part), `${english}: ${part}`);
    assert.equal(german.split("{}").length, english.split("{}").length, german);
  }
});
