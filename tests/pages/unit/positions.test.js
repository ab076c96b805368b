import assert from "node:assert/strict";
import { test } from "node:test";
import { isInside, Positions } from "../../../frontend/positions.js";

test("a position is kept unless it is at either end", () => {
  assert.deepEqual(
    [2, 6, 50, 96, 100].map((position) => isInside(position, 100)),
    [false, true, true, false, false],
  );
});

test("each recording goes on where it was left, the newest two hundred of them", () => {
  const kept = new Map();
  globalThis.localStorage = /** @type {any} */ ({
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => kept.set(key, value),
  });
  const player = Object.assign(new EventTarget(), {
    recording: { id: "a" },
    position_s: 20.4,
    duration_s: 100,
    paused: false,
  });
  const positions = new Positions(/** @type {any} */ (player));
  positions.start(new AbortController().signal);
  player.dispatchEvent(new Event("time"));
  for (let n = 0; n < 199; n += 1) positions.set(`other-${n}`, 30);
  assert.equal(positions.of("a"), 20.4);
  assert.equal(new Positions(/** @type {any} */ (player)).of("a"), 20, "after a reload");
  positions.set("one-more", 30);
  assert.equal(new Positions(/** @type {any} */ (player)).of("a"), 0, "forgotten");
  player.position_s = 99;
  player.dispatchEvent(new Event("time"));
  assert.equal(positions.of("a"), 0, "heard to its end");
});
