const HEAD = 44;

/**
 * Write samples, -1..1, as a mono WAV of 16 bits.
 * @param {Float32Array} samples
 * @param {number} sampleRate
 */
export function writeWav(samples, sampleRate) {
  const bytes = new ArrayBuffer(HEAD + 2 * samples.length);
  const view = new DataView(bytes);
  const text = (/** @type {number} */ at, /** @type {string} */ letters) => {
    for (let n = 0; n < letters.length; n += 1) view.setUint8(at + n, letters.charCodeAt(n));
  };
  text(0, "RIFF");
  view.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  for (const [n, sample] of samples.entries()) {
    view.setInt16(HEAD + 2 * n, Math.round(Math.max(-1, Math.min(1, sample)) * 32_767), true);
  }
  return bytes;
}

/**
 * How much quieter the pauses have become, in dB: the quietest fifth of the moments in `before`,
 * of 20 ms each, against the same moments in `after`. Null if there is nothing to compare.
 * @param {Float32Array} before
 * @param {Float32Array} after
 * @param {number} sampleRate
 */
export function noiseRemoved(before, after, sampleRate) {
  const length = Math.round(sampleRate / 50);
  const moments = [];
  for (let at = 0; at + length <= Math.min(before.length, after.length); at += length) {
    moments.push([power(before, at, length), power(after, at, length)]);
  }
  const pauses = moments
    .filter(([input]) => input > 1e-9)
    .sort((one, other) => one[0] - other[0])
    .slice(0, Math.ceil(moments.length / 5));
  if (!pauses.length) return null;
  const sum = (/** @type {number} */ n) => pauses.reduce((total, pause) => total + pause[n], 0);
  return 10 * Math.log10(sum(0) / (sum(1) + 1e-10 * pauses.length));
}

/**
 * @param {Float32Array} samples
 * @param {number} at
 * @param {number} length
 */
function power(samples, at, length) {
  let sum = 0;
  for (let n = at; n < at + length; n += 1) sum += samples[n] ** 2;
  return sum / length;
}
