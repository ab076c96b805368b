/**
 * @import { Api, Stream } from "./api.js"
 * @import { Presence } from "./presence.js"
 * @typedef {{
 *   friends: { username: string, stream: Stream | null }[], incoming: string[], outgoing: string[],
 * }} FriendList
 */

/** The list of friends and of requests in both directions; `change` when it has changed. */
export class Friends extends EventTarget {
  #api;
  #presence;
  #abort = new AbortController();
  #turn = 0;

  /** @type {string[]} */
  friends = [];
  /** @type {string[]} */
  incoming = [];
  /** @type {string[]} */
  outgoing = [];
  /** Whether the list has come. */
  isKnown = false;

  /**
   * @param {Api} api
   * @param {Presence} presence
   */
  constructor(api, presence) {
    super();
    this.#api = api;
    this.#presence = presence;
    const { signal } = this.#abort;
    presence.addEventListener("friends", () => this.#refreshQuietly(), { signal });
    presence.keepUp(() => this.#refreshQuietly(), signal);
  }

  /**
   * Send a friend request, or accept one. Returns "requested" or "friends". Raises ApiError.
   * @param {string} username
   * @returns {Promise<"requested" | "friends">}
   */
  async add(username) {
    const { state } = await this.#api.put(`/api/friends/${encodeURIComponent(username)}`);
    await this.refresh();
    return state;
  }

  /**
   * End, decline or withdraw. Raises ApiError.
   * @param {string} username
   */
  async remove(username) {
    await this.#api.delete(`/api/friends/${encodeURIComponent(username)}`);
    await this.refresh();
  }

  /** Fetch the list. Raises ApiError. */
  async refresh() {
    const turn = ++this.#turn;
    /** @type {FriendList} */
    const list = await this.#api.get("/api/friends");
    if (turn !== this.#turn || this.#abort.signal.aborted) return; // a newer one is coming
    this.friends = list.friends.map(({ username }) => username);
    this.incoming = list.incoming;
    this.outgoing = list.outgoing;
    this.isKnown = true;
    for (const { username, stream } of list.friends) this.#presence.learn(username, stream);
    this.dispatchEvent(new Event("change"));
  }

  close() {
    this.#abort.abort();
  }

  async #refreshQuietly() {
    try {
      await this.refresh();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("notice", { detail: error.message }));
    }
  }
}
