import { ApiError, Api } from "./api.js";
import { Listener } from "./listener.js";
import { MediaControls } from "./media_session.js";
import { Player } from "./player.js";
import { Presence } from "./presence.js";
import { GuestView } from "./views/guest.js";
import { LinkOver } from "./views/link_over.js";
import { Shell } from "./views/shell.js";
import { Backoff, pause } from "./waiting.js";

/**
 * @import { ServerClock } from "./clock.js"
 * @typedef {{ id: string, username: string, expires_at: string, recordings: boolean }} OpenLink
 */

/**
 * The page of an invite link: its guest listens without an account, until the link ends. The token
 * goes nowhere but to this server, as a bearer.
 */
export class GuestPage {
  #api;
  #clock;
  #shell;
  /** @type {GuestVisit | null} */
  #visit = null;
  /** @type {GuestView | null} */
  #view = null;
  #abort = new AbortController();

  /** @param {{ clock: ServerClock, token: string, root: HTMLElement }} parts */
  constructor({ clock, token, root }) {
    this.#clock = clock;
    this.#api = new Api(clock, token);
    this.#shell = new Shell(root, { clock, onSignOut: () => {} });
  }

  async start() {
    this.#api.addEventListener("signedout", () => this.#end());
    window.addEventListener("pagehide", () => this.#visit?.listener.stop());
    const link = await this.#ask();
    if (!link) return;
    const { audio } = this.#shell;
    const visit = new GuestVisit({ api: this.#api, clock: this.#clock, link, audio });
    this.#visit = visit;
    visit.presence.addEventListener("control", (/** @type {CustomEvent} */ { detail }) => {
      if (detail.action === "signed_out") this.#end();
    });
    this.#view = new GuestView(visit);
    this.#shell.show(this.#view);
    this.#view.start();
    visit.start();
  }

  /**
   * Ask whose link it is until there is an answer; null when it is nobody's any more.
   * @returns {Promise<OpenLink | null>}
   */
  async #ask() {
    const backoff = new Backoff();
    while (!this.#abort.signal.aborted) {
      try {
        const link = await this.#api.get("/api/link");
        this.#shell.notice.clear();
        return link;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 401) return null;
        this.#shell.notice.show(error.message);
        await pause(backoff.next(error.retryAfterMs), this.#abort.signal);
      }
    }
    return null;
  }

  /** The link is no longer valid, or never was. */
  #end() {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.#view?.close();
    this.#visit?.close();
    this.#shell.show(new LinkOver());
    this.#shell.focusHeading();
  }
}

/** Everything that lasts while a link's page is open: what a visit has for listening. */
class GuestVisit {
  /**
   * @param {{
   *   api: Api, clock: ServerClock, link: OpenLink, audio: HTMLAudioElement,
   * }} parts
   */
  constructor({ api, clock, link, audio }) {
    this.api = api;
    this.clock = clock;
    this.link = link;
    this.presence = new Presence(api, { guestOf: link.username });
    this.listener = new Listener(api, this.presence, audio);
    this.player = new Player(this.listener, this.presence);
    this.mediaControls = new MediaControls(this.player, this.listener);
  }

  start() {
    this.mediaControls.start();
    this.presence.start();
  }

  async close() {
    this.mediaControls.close();
    this.player.close();
    this.presence.stop();
    await this.listener.close({ tell: false }); // the link has ended, and the server its sessions
  }
}
