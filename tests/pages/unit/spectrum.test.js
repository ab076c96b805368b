import assert from "node:assert/strict";
import { test } from "node:test";

import { BANDS, bandBins, column, levelByte, readColumns } from "../../../frontend/spectrum.js";

const message = (first, count) => {
  const bytes = [2, count, first >> 8, first & 255];
  for (let n = 0; n < count; n += 1) {
    bytes.push(...Array(BANDS).fill(100 + n), ...Array(BANDS).fill(50 + n));
  }
  return Uint8Array.from(bytes).buffer;
};

test("a message's columns are read, each before and after", () => {
  const { first, before, after } = readColumns(message(65_535, 3));
  assert.equal(first, 65_535);
  assert.deepEqual([before.length, after.length, before[0].length], [3, 3, BANDS]);
  assert.deepEqual([before[2][63], after[2][0]], [102, 52]);
});

test("a message of another version or length is left alone", () => {
  const other = new Uint8Array(message(0, 1));
  other[0] = 3;
  assert.equal(readColumns(other.buffer), null);
  assert.equal(readColumns(message(0, 2).slice(0, -1)), null);
  assert.equal(readColumns(new ArrayBuffer(0)), null);
});

test("bands cover all bins up to 16 kHz without a gap, each at least one", () => {
  const bins = bandBins(48_000, 1024);
  assert.equal(bins.length, BANDS);
  assert.equal(bins[0][0], 0);
  assert.equal(bins.at(-1)[1], Math.round((16_000 / 24_000) * 1024));
  for (const [n, [from, to]] of bins.entries()) {
    assert.ok(to > from);
    if (n) assert.ok(from <= bins[n - 1][1], `a gap before band ${n}`);
  }
});

test("a tone is loudest in its band, at its level", () => {
  const bands = bandBins(48_000, 1024);
  const decibels = new Float32Array(1024).fill(-110);
  decibels[43] = -20; // about 1 kHz
  const bytes = column(decibels, bands);
  const loudest = bytes.indexOf(Math.max(...bytes));
  assert.ok(bands[loudest][0] <= 43 && 43 < bands[loudest][1]);
  assert.equal(bytes[loudest], levelByte(-20));
  assert.equal(levelByte(-20), 200);
  assert.deepEqual([levelByte(-500), levelByte(40)], [0, 255]);
});
