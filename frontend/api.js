/** A refusal or failure, with a sentence a person can act on. */
export class ApiError extends Error {
  /** `status` 0 means that the server could not be reached. */
  constructor(message, { status = 0, retryAfterMs = 0 } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed a little later. */
  get passing() {
    return [0, 408, 409, 425, 429].includes(this.status) || this.status >= 500;
  }
}

const UNREACHABLE = "hushcast cannot be reached. Check your connection.";
const SENTENCES = new Map([
  [401, "Please sign in again."],
  [403, "You may not do this."],
  [404, "This does not exist any more."],
  [413, "This is too large."],
  [429, "That was too often. Wait a moment and try again."],
  [503, "hushcast is busy right now. Try again in a moment."],
]);

/**
 * The server's HTTP interface: JSON for the pages, SDP for WHIP and WHEP.
 *
 * Every failure is an ApiError. Dispatches `signedout` when the server does not know the
 * session cookie any more.
 */
export class Api extends EventTarget {
  #clock;

  constructor(clock) {
    super();
    this.#clock = clock;
  }

  get(path) {
    return this.#json("GET", path);
  }

  post(path, body) {
    return this.#json("POST", path, body);
  }

  put(path) {
    return this.#json("PUT", path);
  }

  patch(path, body) {
    return this.#json("PATCH", path, body);
  }

  /** Delete what is there; the request outlives the page. */
  delete(path) {
    return this.#json("DELETE", path, undefined, { keepalive: true });
  }

  /** Post an SDP offer; the Response of the 201 has the answer. */
  offer(path, sdp) {
    const headers = { "Content-Type": "application/sdp", Accept: "application/sdp" };
    return this.#request("POST", path, { headers, body: sdp });
  }

  /** Send trickled candidates to a session (RFC 9725 section 4.3.1). */
  trickle(path, fragment, etag) {
    const headers = { "Content-Type": "application/trickle-ice-sdpfrag" };
    if (etag) headers["If-Match"] = etag;
    return this.#request("PATCH", path, { headers, body: fragment });
  }

  async #json(method, path, body, options = {}) {
    const init = { ...options, headers: { Accept: "application/json" } };
    if (body !== undefined) {
      init.headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
    }
    const response = await this.#request(method, path, init);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  async #request(method, path, init) {
    const sentAt = Date.now();
    let response;
    try {
      response = await fetch(path, {
        method,
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(15_000),
        ...init,
      });
    } catch {
      throw new ApiError(UNREACHABLE);
    }
    this.#clock.learn(response.headers.get("Date"), sentAt, Date.now());
    if (response.ok) return response;
    if (response.status === 401) this.dispatchEvent(new Event("signedout"));
    throw await refusal(response);
  }
}

async function refusal(response) {
  const { status } = response;
  const fallback = SENTENCES.get(status) ?? `The server answered with an error (${status}).`;
  return new ApiError((await sentence(response)) ?? fallback, {
    status,
    retryAfterMs: retryAfter(response.headers.get("Retry-After")),
  });
}

async function sentence(response) {
  try {
    const { detail } = await response.json();
    if (Array.isArray(detail)) return detail.map((part) => part.msg).join(" ");
    return typeof detail === "string" ? detail : null;
  } catch {
    return null; // a proxy's error page
  }
}

/** Read Retry-After, seconds or a date, in ms. */
function retryAfter(header) {
  if (!header) return 0;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
