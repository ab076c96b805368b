import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.navigator ??= { languages: ["en"] }; // not in every Node.js
const { namesOf, titleOf } = await import("../../../frontend/player.js");

const recording = (id, started_at, title = null) => ({ id, started_at, title });

test("no two recordings of a list have the same name, and seconds are there only where needed", () => {
  const list = [
    recording("a", "2026-11-26T10:00:05Z"),
    recording("b", "2026-11-26T10:00:40Z"),
    recording("c", "2026-11-26T10:01:00Z"),
    recording("d", "2026-11-26T10:02:00Z", "Rehearsal"),
    recording("e", "2026-11-26T10:03:00Z", "Rehearsal"),
    recording("f", "2026-11-26T10:04:00Z", "Concert"),
  ];
  const names = namesOf(list);
  assert.equal(new Set(names.values()).size, list.length);
  for (const each of [list[2], list[5]]) assert.equal(names.get(each.id), titleOf(each));
  assert.match(names.get("a"), /:05/);
  assert.match(names.get("e"), /^Rehearsal, /);
});
