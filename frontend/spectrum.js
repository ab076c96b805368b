/** Bands of a column, equally wide on the mel scale from 0 Hz to `TOP_HZ`, from low to high. */
export const BANDS = 64;
export const TOP_HZ = 16_000;

const VERSION = 2;
const HEAD = 4;

/**
 * Spectrum in columns of `BANDS` bytes, oldest first; byte b stands for b/2 - 120 dBFS. `first` is
 * the first column's number modulo 65536.
 * @typedef {{ first: number, before: Uint8Array[], after: Uint8Array[] }} Columns
 */

/**
 * Read a binary message of the `stats` channel; null if it is of another version.
 * @param {ArrayBuffer} message
 * @returns {Columns | null}
 */
export function readColumns(message) {
  const bytes = new Uint8Array(message);
  const count = bytes[1];
  if (bytes[0] !== VERSION || bytes.length !== HEAD + 2 * BANDS * count) return null;
  /** @type {Columns} */
  const columns = { first: bytes[2] * 256 + bytes[3], before: [], after: [] };
  for (let at = HEAD; at < bytes.length; at += 2 * BANDS) {
    columns.before.push(bytes.subarray(at, at + BANDS));
    columns.after.push(bytes.subarray(at + BANDS, at + 2 * BANDS));
  }
  return columns;
}

/**
 * Write a level in dBFS as the byte that stands for it.
 * @param {number} dbfs
 */
export function levelByte(dbfs) {
  return Math.max(0, Math.min(255, Math.round((dbfs + 120) * 2)));
}

const mel = (/** @type {number} */ hz) => 2595 * Math.log10(1 + hz / 700);
const hertz = (/** @type {number} */ mels) => 700 * (10 ** (mels / 2595) - 1);

/**
 * Where each band begins and ends among the bins of a transform: [from, to), at least one bin.
 * @param {number} sampleRate
 * @param {number} bins how many there are from 0 Hz up to half the sample rate
 * @returns {[number, number][]}
 */
export function bandBins(sampleRate, bins) {
  const edge = (/** @type {number} */ band) =>
    Math.round((hertz((mel(TOP_HZ) * band) / BANDS) / (sampleRate / 2)) * bins);
  return Array.from({ length: BANDS }, (_, band) => [
    Math.min(edge(band), bins - 1),
    Math.min(Math.max(edge(band + 1), edge(band) + 1), bins),
  ]);
}

/**
 * Sum the power of bins, given in dB, into bands.
 * @param {Float32Array} decibels
 * @param {[number, number][]} bands
 */
export function column(decibels, bands) {
  const bytes = new Uint8Array(bands.length);
  for (const [band, [from, to]] of bands.entries()) {
    let power = 0;
    for (let bin = from; bin < to; bin += 1) power += 10 ** (decibels[bin] / 10);
    bytes[band] = levelByte(10 * Math.log10(power + 1e-12));
  }
  return bytes;
}
