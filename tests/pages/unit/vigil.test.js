import assert from "node:assert/strict";
import { test } from "node:test";

import { Vigil } from "../../../frontend/vigil.js";

const tracked = (patience) => {
  const calls = [];
  const vigil = new Vigil(patience, {
    onTick: () => calls.push("tick"),
    onWake: () => calls.push("wake"),
  });
  return { vigil, calls };
};

test("a sleep is noticed by the first timer after it, and by whoever asks before", (context) => {
  context.mock.timers.enable({ apis: ["Date", "setInterval"] });
  const { timers } = context.mock;
  const { vigil, calls } = tracked(10_000);
  vigil.start();
  timers.tick(3_000);
  assert.deepEqual(calls, ["tick", "tick", "tick"]);
  assert.equal(vigil.slept, false);
  timers.setTime(Date.now() + 150_000); // timers do not run meanwhile
  const before = calls.length;
  assert.equal(vigil.slept, true);
  timers.tick(1_000);
  assert.ok(calls.slice(before).includes("wake"));
  assert.equal(vigil.slept, true);
  vigil.forget();
  assert.equal(vigil.slept, false);
  vigil.stop();
  timers.tick(60_000);
  assert.equal(vigil.slept, false);
});
