/**
 * @typedef {{ view: "home" | "admin" | "nothing" }
 *   | { view: "profile", username: string }
 *   | { view: "recording", id: string }
 *   | { view: "guest", token: string }} Route
 */

const USERNAME = /^[a-z0-9_-]{3,32}$/;
const OPAQUE = /^[\w-]+$/;

/**
 * Say which view an address stands for; names are found in any case.
 * @param {string} path
 * @returns {Route}
 */
export function routeOf(path) {
  const [first, second, ...more] = path.split("/").filter(Boolean).map(decoded);
  if (more.length) return { view: "nothing" };
  if (second === undefined) {
    if (first === undefined) return { view: "home" };
    return { view: first === "admin" ? "admin" : "nothing" };
  }
  const username = second.toLowerCase();
  if (first === "u" && USERNAME.test(username)) return { view: "profile", username };
  if (first === "r" && OPAQUE.test(second)) return { view: "recording", id: second };
  if (first === "l" && OPAQUE.test(second)) return { view: "guest", token: second };
  return { view: "nothing" };
}

/**
 * Decode a part of a path; one with malformed escapes stands for itself.
 * @param {string} part
 */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return part;
  }
}
