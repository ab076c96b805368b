import assert from "node:assert/strict";
import { test } from "node:test";

import { noiseRemoved, writeWav } from "../../../frontend/wav.js";

test("a WAV has a header, and samples that are clamped", () => {
  const view = new DataView(writeWav(Float32Array.from([0, 0.5, -2]), 48_000));
  const text = (at) => String.fromCharCode(...[0, 1, 2, 3].map((n) => view.getUint8(at + n)));
  assert.deepEqual([text(0), text(8), text(36)], ["RIFF", "WAVE", "data"]);
  assert.deepEqual([view.getUint32(24, true), view.getUint32(40, true)], [48_000, 6]);
  assert.deepEqual(
    [44, 46, 48].map((at) => view.getInt16(at, true)),
    [0, 16_384, -32_767],
  );
});

test("noise is judged in the pauses, whatever the voice does", () => {
  const pause = (n) => Math.floor(n / 9600) % 2 === 0;
  const sound = (quiet) => Float32Array.from({ length: 48_000 }, (_, n) => (pause(n) ? quiet : 0.5) * (n % 2 ? 1 : -1));
  assert.equal(Math.round(noiseRemoved(sound(0.01), sound(0.001), 48_000)), 20);
  assert.equal(noiseRemoved(new Float32Array(48_000), new Float32Array(48_000), 48_000), null);
});
