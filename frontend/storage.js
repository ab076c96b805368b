import { words, writeSize } from "./words.js";

const NEAR = 0.9;

/**
 * Say what becomes of the next recording, if the user's recordings have little room left.
 * @param {{ used_bytes: number, limit_bytes: number | null, full: boolean }} storage
 */
export function storageWarning({ used_bytes: used, limit_bytes: limit, full }) {
  if (!limit || used < NEAR * limit) return "";
  const size = writeSize(limit, 2);
  if (full) return words.account.storageFull(size);
  return words.account.storageNearlyFull(Math.floor((100 * used) / limit), size);
}
