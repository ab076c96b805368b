import { ApiError } from "./api.js";
import { words } from "./words.js";

/** @import { Api } from "./api.js" */

const CONNECT_TIMEOUT_MS = 12_000;
const DISCONNECTED_MS = 2_000;
const TRICKLE_BATCH_MS = 20;

/** The status of the ApiError that says that no path for the sound was found in time. */
export const NO_PATH = 408;

/**
 * One peer connection, offered over HTTP: WHIP (RFC 9725) or WHEP, which differ by their URL
 * and by what is offered.
 *
 * The offer goes out at once, without candidates; they are trickled once the answer has named
 * the ICE servers. `lost` resolves once: "closed" when the server closed the session, "failed"
 * when it can no longer be reached. The caller that opened it calls `close()`.
 */
export class WhipConnection {
  #api;
  #url;
  #pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  #abort = new AbortController();
  #location = "";
  /** @type {string | null} */
  #etag = null;
  /** @type {(reason: "closed" | "failed") => void} */
  #settleLost = () => {};
  /** @type {Promise<void> | null} */
  #closing = null;

  /**
   * @param {Api} api
   * @param {string} url
   */
  constructor(api, url) {
    this.#api = api;
    this.#url = url;
    /** @type {Promise<"closed" | "failed">} */
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
  }

  /** The server's id of this session, null before its answer. */
  get session() {
    return this.#location.split("/").pop() || null;
  }

  /**
   * Offer what `prepare(pc)` adds and connect. `onSession` is called as soon as the server has
   * answered. Raises ApiError when refused or when it does not connect in time.
   * @param {(pc: RTCPeerConnection) => void} prepare
   * @param {(session: string) => void} onSession
   */
  async open(prepare, onSession) {
    prepare(this.#pc);
    const offer = await this.#pc.createOffer();
    const response = await this.#api.offer(this.#url, offer.sdp ?? "");
    this.#location = new URL(response.headers.get("Location") ?? "", response.url).pathname;
    this.#etag = response.headers.get("ETag");
    const answer = await response.text();
    if (this.#closing) {
      await this.#leave(); // closed while the request was under way
      this.#abort.signal.throwIfAborted();
    }
    onSession(this.session ?? "");
    await this.#connect(offer, answer, iceServers(response.headers.get("Link")));
  }

  /** Stop sending sound. */
  mute() {
    for (const sender of this.#pc.getSenders()) sender.replaceTrack(null);
  }

  /** Close; with `tell`, the server's side too, which for a publisher ends the stream. */
  close({ tell = true } = {}) {
    this.#closing ??= this.#close(tell);
    return this.#closing;
  }

  /**
   * @param {RTCSessionDescriptionInit} offer
   * @param {string} answer
   * @param {RTCIceServer[]} servers
   */
  async #connect(offer, answer, servers) {
    const pc = this.#pc;
    pc.setConfiguration({ bundlePolicy: "max-bundle", iceServers: servers });
    new Trickle(pc, this.#abort.signal, (fragment) =>
      this.#api.trickle(this.#location, fragment, this.#etag),
    );
    const connected = this.#watch();
    connected.catch(() => {}); // awaited below; it may fail before that
    await pc.setLocalDescription(offer);
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    this.#watchGoodbye();
    await connected;
  }

  /**
   * Follow the connection's state; resolves when it is connected for the first time.
   * @returns {Promise<void>}
   */
  #watch() {
    const { signal } = this.#abort;
    return new Promise((resolve, reject) => {
      const late = new ApiError(words.stream.sentences.noPath, { status: NO_PATH });
      const lose = () => {
        this.#settleLost("failed");
        reject(late);
      };
      let timer = setTimeout(lose, CONNECT_TIMEOUT_MS);
      const onChange = () => {
        clearTimeout(timer);
        const state = this.#pc.connectionState;
        if (state === "connected") resolve();
        else if (state === "disconnected") timer = setTimeout(lose, DISCONNECTED_MS);
        else if (state === "failed") lose();
        else if (state !== "closed") timer = setTimeout(lose, CONNECT_TIMEOUT_MS);
      };
      this.#pc.addEventListener("connectionstatechange", onChange, { signal });
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    });
  }

  /** Notice the server's DTLS close: the one sign that it ended the session on purpose. */
  #watchGoodbye() {
    const [transceiver] = this.#pc.getTransceivers();
    const transport = transceiver.sender.transport ?? transceiver.receiver.transport;
    transport?.addEventListener(
      "statechange",
      () => {
        if (transport.state === "closed") this.#settleLost("closed");
      },
      { signal: this.#abort.signal },
    );
  }

  /** @param {boolean} tell */
  async #close(tell) {
    this.#abort.abort();
    try {
      if (tell && this.#location) await this.#leave();
    } finally {
      this.#pc.close();
    }
  }

  async #leave() {
    try {
      await this.#api.delete(this.#location);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // gone already, or noticed by its silence
    }
  }
}

/** Sends candidates as they are found, a few in one request, in order. */
class Trickle {
  #pc;
  #send;
  /** @type {string[]} */
  #waiting = [];
  /** @type {number | undefined} */
  #timer;
  /** @type {Promise<unknown>} */
  #sent = Promise.resolve();

  /**
   * @param {RTCPeerConnection} pc
   * @param {AbortSignal} signal
   * @param {(fragment: string) => Promise<unknown>} send
   */
  constructor(pc, signal, send) {
    this.#pc = pc;
    this.#send = send;
    pc.addEventListener("icecandidate", ({ candidate }) => this.#add(candidate), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** @param {RTCIceCandidate | null} candidate */
  #add(candidate) {
    const line = candidate?.candidate ? `a=${candidate.candidate}` : "a=end-of-candidates";
    if (!this.#waiting.includes(line)) this.#waiting.push(line);
    this.#timer ??= setTimeout(() => this.#flush(), TRICKLE_BATCH_MS);
  }

  #flush() {
    const fragment = sdpFragment(this.#pc.localDescription?.sdp ?? "", this.#waiting);
    this.#waiting = [];
    this.#timer = undefined;
    this.#sent = this.#sent
      .then(() => this.#send(fragment))
      .catch((error) => {
        // Without trickle the server still finds us by our own checks; if not, we time out.
        if (!(error instanceof ApiError)) throw error;
      });
  }
}

/**
 * Write candidates as an SDP fragment for the bundled transport (RFC 8840 section 9).
 * @param {string} sdp
 * @param {string[]} lines
 */
function sdpFragment(sdp, lines) {
  const first = (/** @type {string} */ line) => sdp.match(new RegExp(`^${line}.*$`, "m"))?.[0].trim();
  const head = [first("a=ice-ufrag:"), first("a=ice-pwd:"), first("m="), first("a=mid:")];
  return [...head, ...lines, ""].join("\r\n");
}

/**
 * Read ICE servers from a Link header (RFC 9725 section 4.6).
 * @param {string | null} link
 */
function iceServers(link) {
  const servers = [];
  for (const [, url, rest] of (link ?? "").matchAll(/<([^>]*)>([^<]*)/g)) {
    if (!/rel="?ice-server"?/.test(rest)) continue;
    const value = (/** @type {string} */ name) => rest.match(new RegExp(`${name}="?([^";,]*)"?`))?.[1];
    /** @type {RTCIceServer} */
    const server = { urls: url };
    if (value("username")) {
      server.username = value("username");
      server.credential = value("credential");
    }
    servers.push(server);
  }
  return servers;
}
