import { titleOf } from "./player.js";
import { words } from "./words.js";

/**
 * @import { Listener } from "./listener.js"
 * @import { Player } from "./player.js"
 */

const SKIP_S = 10;

/** What plays, on the lock screen and under the keyboard's media keys (W3C Media Session). */
export class MediaControls {
  #player;
  #listener;
  #session = navigator.mediaSession;
  #abort = new AbortController();
  /** @type {string | null} whom to listen to again after a pause */
  #last = null;

  /**
   * @param {Player} player
   * @param {Listener} listener
   */
  constructor(player, listener) {
    this.#player = player;
    this.#listener = listener;
  }

  start() {
    if (!this.#session) return;
    const { signal } = this.#abort;
    this.#player.addEventListener("change", () => this.#render(), { signal });
    this.#player.addEventListener("time", () => this.#renderPosition(), { signal });
    this.#handle("play", () => this.#play());
    this.#handle("pause", () => this.#pause());
    this.#handle("stop", () => this.#stop());
    this.#handle("seekbackward", ({ seekOffset }) => this.#skip(-(seekOffset ?? SKIP_S)));
    this.#handle("seekforward", ({ seekOffset }) => this.#skip(seekOffset ?? SKIP_S));
    this.#handle("seekto", ({ seekTime }) => this.#player.seek(seekTime ?? 0));
  }

  close() {
    this.#abort.abort();
    if (!this.#session) return;
    this.#session.metadata = null;
    this.#session.playbackState = "none";
  }

  /**
   * @param {MediaSessionAction} action
   * @param {MediaSessionActionHandler} handler
   */
  #handle(action, handler) {
    try {
      this.#session.setActionHandler(action, handler);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // this browser does not know the action
      return;
    }
    this.#abort.signal.addEventListener("abort", () => this.#session.setActionHandler(action, null));
  }

  #render() {
    const { live, recording, paused } = this.#player;
    if (live) this.#last = live;
    else if (!paused) this.#last = null;
    const title = live ? words.listen.liveTitle(live) : recording && titleOf(recording);
    if (!title) {
      if (!this.#last) this.#session.metadata = null;
      this.#session.playbackState = this.#last ? "paused" : "none";
      return;
    }
    const artist = live ?? recording?.username ?? "";
    const shown = this.#session.metadata;
    if (shown?.title !== title || shown.artist !== artist) {
      this.#session.metadata = new MediaMetadata({ title, artist, album: "hushcast" });
    }
    this.#session.playbackState = live || !paused ? "playing" : "paused";
    this.#renderPosition();
  }

  #renderPosition() {
    const { live, recording, duration_s: duration, position_s: position, rate } = this.#player;
    if (!this.#session.setPositionState) return;
    if (live || !recording || !duration) return this.#session.setPositionState();
    this.#session.setPositionState({
      duration,
      position: Math.min(position, duration),
      playbackRate: rate,
    });
  }

  #play() {
    const { recording } = this.#player;
    if (this.#last) this.#listener.listen(this.#last);
    else if (recording) this.#player.play(recording);
  }

  #pause() {
    if (this.#player.live) this.#listener.stop();
    this.#player.pause();
  }

  #stop() {
    this.#last = null;
    this.#pause();
  }

  /** @param {number} by s */
  #skip(by) {
    if (!this.#player.live) this.#player.seek(this.#player.position_s + by);
  }
}
