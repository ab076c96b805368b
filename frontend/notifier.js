import { words } from "./words.js";

/**
 * @import { Stream } from "./api.js"
 * @import { Friends } from "./friends.js"
 * @import { Presence } from "./presence.js"
 */

/** Kept per browser: a person may want it on the phone only. */
const WANTED = "hushcast.notify";

/**
 * Tells who has just gone live to somebody who looks elsewhere, if they asked for it; the app's badge
 * counts friends who are live.
 *
 * A service worker shows the notifications, since phones allow nothing else. Dispatches `open` with
 * the path of the person whose notification was chosen.
 */
export class Notifier extends EventTarget {
  #username;
  #presence;
  #friends;
  #abort = new AbortController();
  /** Streams that are no news: told of already, or live when the page came. @type {Set<string>} */
  #known = new Set();
  #isFirst = true;

  /**
   * @param {Presence} presence
   * @param {Friends} friends
   * @param {string} username
   */
  constructor(presence, friends, username) {
    super();
    this.#presence = presence;
    this.#friends = friends;
    this.#username = username;
  }

  /** Whether this browser can show notifications at all. */
  get isPossible() {
    return "Notification" in window && "serviceWorker" in navigator;
  }

  /** Whether the person asked for them, and the browser still allows them. */
  get isOn() {
    return this.isPossible && Notification.permission === "granted" && localStorage.getItem(WANTED) === "yes";
  }

  start() {
    const { signal } = this.#abort;
    const onStream = (/** @type {CustomEvent<{ stream: Stream | null }>} */ { detail }) => this.#take(detail.stream);
    this.#presence.addEventListener("stream", onStream, { signal });
    const begin = () => {
      this.#isFirst = false;
    };
    this.#presence.addEventListener("snapshot", begin, { signal });
    this.#friends.addEventListener("change", () => this.#count(), { signal });
    if (!this.isPossible) return;
    const onMessage = (/** @type {MessageEvent} */ { data }) =>
      this.dispatchEvent(new CustomEvent("open", { detail: data.path }));
    navigator.serviceWorker.addEventListener("message", onMessage, { signal });
    if (this.isOn) this.#register();
  }

  close() {
    this.#abort.abort();
    this.#setBadge(0);
  }

  /** Turn notifications on, with the browser's leave, or off. Resolves to whether they are on. */
  async turn(/** @type {boolean} */ on) {
    localStorage.setItem(WANTED, on ? "yes" : "no");
    if (on && (await Notification.requestPermission()) === "granted") await this.#register();
    this.#count();
    return this.isOn;
  }

  /** @param {Stream | null} stream */
  #take(stream) {
    this.#count();
    if (stream?.state !== "live" || stream.username === this.#username) return;
    const isNews = !this.#isFirst && !this.#known.has(stream.stream_id);
    this.#known.add(stream.stream_id);
    if (isNews && this.isOn && document.visibilityState === "hidden") this.#tell(stream.username);
  }

  /** @param {string} name */
  async #tell(name) {
    const worker = await navigator.serviceWorker.ready;
    await worker.showNotification(words.shell.wentLive(name), {
      body: words.shell.wentLiveBody,
      icon: "/static/icon-192.png",
      tag: `live-${name}`,
      data: { path: `/u/${name}` },
    });
  }

  #count() {
    const live = this.#friends.friends.filter((name) => this.#presence.streamOf(name)?.state === "live");
    this.#setBadge(this.isOn ? live.length : 0);
  }

  /** @param {number} count */
  #setBadge(count) {
    // Only an installed app has one; others are refused.
    if (count) navigator.setAppBadge?.(count).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
  }

  #register() {
    return navigator.serviceWorker.register("/static/service_worker.js", { scope: "/" });
  }
}
