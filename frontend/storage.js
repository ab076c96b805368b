const NEAR = 0.9;

/**
 * Say what becomes of the next recording, if the user's recordings have little room left.
 * @param {{ used_bytes: number, limit_bytes: number | null, full: boolean }} storage
 */
export function storageWarning({ used_bytes: used, limit_bytes: limit, full }) {
  if (!limit || used < NEAR * limit) return "";
  const size = limit < 1e9 ? `${+(limit / 1e6).toFixed(2)} MB` : `${+(limit / 1e9).toFixed(2)} GB`;
  if (full) {
    return `Your ${size} for recordings is full: you can stream, but it is not recorded. Delete recordings to make room.`;
  }
  const share = Math.floor((100 * used) / limit);
  return `Your recordings take up ${share} % of your ${size}. Once it is full, streams are no longer recorded.`;
}
