import { ApiError } from "./api.js";
import { Friends } from "./friends.js";
import { Listener } from "./listener.js";
import { MediaControls } from "./media_session.js";
import { MicrophoneError } from "./microphone.js";
import { Notifier } from "./notifier.js";
import { Player } from "./player.js";
import { Positions } from "./positions.js";
import { Presence } from "./presence.js";
import { Publisher } from "./publisher.js";
import { words } from "./words.js";

/**
 * @import { Api, Control, Me } from "./api.js"
 * @import { ServerClock } from "./clock.js"
 * @import { Notice } from "./views/notice.js"
 * @typedef {{
 *   api: Api, clock: ServerClock, me: Me, audio: HTMLAudioElement, notice: Notice,
 * }} VisitParts
 */

/** Everything that lasts from sign-in to sign-out, whichever view is shown. */
export class Visit {
  #abort = new AbortController();
  /** @type {Me | null} */
  #fresh;

  /** @param {VisitParts} parts */
  constructor({ api, clock, me, audio, notice }) {
    this.api = api;
    this.clock = clock;
    /** What the server said of the user when the visit began. */
    this.me = me;
    this.#fresh = me;
    this.username = me.username;
    /** What a stream may choose, first what it begins with. */
    this.models = me.models ?? []; // an ingress of an earlier release tells none
    this.notice = notice;
    this.presence = new Presence(api);
    this.friends = new Friends(api, this.presence);
    this.notifier = new Notifier(this.presence, this.friends, me.username);
    this.publisher = new Publisher(api, this.presence, me.username, this.models);
    this.listener = new Listener(api, this.presence, audio);
    this.player = new Player(this.listener, this.presence);
    this.positions = new Positions(this.player);
    this.mediaControls = new MediaControls(this.player, this.listener);
  }

  /**
   * Ask what the server says of the user; at first, that is what it said when the visit began.
   * @returns {Promise<Me>}
   */
  async askAboutMe() {
    const me = this.#fresh ?? (await this.api.get("/api/me"));
    this.#fresh = null;
    return me;
  }

  start() {
    const { signal } = this.#abort;
    const tell = (/** @type {CustomEvent} */ { detail }) => this.notice.show(detail);
    for (const part of [this.publisher, this.listener, this.player, this.friends]) {
      part.addEventListener("notice", tell, { signal });
    }
    const say = (/** @type {CustomEvent<Control>} */ { detail }) => {
      if (detail.action === "quota") this.notice.show(detail.reason ?? "");
    };
    this.presence.addEventListener("control", say, { signal });
    const back = () => this.presence.isAway || this.notice.retract(words.errors.unreachable);
    this.presence.addEventListener("link", back, { signal });
    this.positions.start(signal);
    this.mediaControls.start();
    this.notifier.start();
    this.presence.start();
  }

  /** The page is closing: there is no time to wait. */
  leave() {
    this.publisher.leave();
    this.listener.stop();
  }

  /**
   * End everything; with `tell`, the server too. Once a sign-in has ended it knows, and refuses.
   * @param {{ tell?: boolean }} [options]
   */
  async close(options) {
    this.#abort.abort();
    this.friends.close();
    this.notifier.close();
    this.mediaControls.close();
    this.player.close();
    await Promise.all([this.publisher.close(options), this.listener.close(options)]);
    this.presence.stop();
  }

  /**
   * Do what the user asked for, and show any error. Resolves to whether it succeeded.
   * @param {() => unknown} action
   */
  async attempt(action) {
    this.notice.clear();
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof MicrophoneError)) throw error;
      this.notice.complain(error.message);
      return false;
    }
  }
}
