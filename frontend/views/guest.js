import { el, button, icon } from "../dom.js";
import { actionOf, sentenceOf } from "../guest_state.js";
import { view } from "../listen_state.js";
import { words } from "../words.js";
import { GuestRecordings } from "./guest_recordings.js";
import { HoldButton } from "./hold_button.js";
import { onPress } from "./press.js";
import { StreamStatus } from "./stream_status.js";
import { Volume } from "./volume.js";

/**
 * @import { Api } from "../api.js"
 * @import { ServerClock } from "../clock.js"
 * @import { OpenLink } from "../guest.js"
 * @import { Action } from "../guest_state.js"
 * @import { Listener } from "../listener.js"
 * @import { Player } from "../player.js"
 * @import { Presence } from "../presence.js"
 * @typedef {{
 *   api: Api, link: OpenLink, clock: ServerClock, listener: Listener, presence: Presence,
 *   player: Player,
 * }} GuestParts
 */

/** @type {Record<Action, { text: string, icon: string, kind: string }>} */
const BUTTONS = {
  listen: { text: words.listen.listen, icon: "headphones", kind: "primary" },
  wait: { text: words.links.listenWhenLive, icon: "headphones", kind: "primary" },
  stopWaiting: { text: words.links.stopWaiting, icon: "stop", kind: "stop" },
  stop: { text: words.listen.stop, icon: "stop", kind: "stop" },
};

/** What a guest sees: whose stream it is, how it stands, and one button. */
export class GuestView {
  #visit;
  #name;
  #waits = false;
  /** @type {Action} */
  #action = "wait";
  #abort = new AbortController();
  #status;
  #card;
  #button = button({});
  #hold;
  #volume;
  #recordings;

  /** @param {GuestParts} visit */
  constructor(visit) {
    this.#visit = visit;
    const name = visit.link.username;
    this.#name = name;
    this.title = words.links.title(name);
    this.#status = new StreamStatus(visit);
    this.#hold = new HoldButton(visit.listener);
    this.#volume = new Volume(visit.player, { testid: "volume" });
    this.#recordings = visit.link.recordings ? new GuestRecordings(visit) : null;
    this.#card = el(
      "section",
      { class: "card listen", "aria-label": words.listen.streamOf(name) },
      el("div", { class: "row between" }, el("h1", {}, name), this.#status.badge),
      ...this.#status.elements,
      el("div", { class: "row actions" }, this.#button, this.#hold.element, this.#volume.element),
    );
    this.element = el(
      "div",
      { class: "profile" },
      this.#card,
      this.#recordings?.element,
      el("footer", {}, el("a", { class: "hint", href: "/" }, words.links.whatIsThis)),
    );
  }

  start() {
    const { signal } = this.#abort;
    const { listener, presence } = this.#visit;
    for (const [part, type] of /** @type {const} */ ([
      [listener, "change"],
      [presence, "stream"],
      [presence, "link"],
    ])) {
      part.addEventListener(type, () => this.#render(), { signal });
    }
    onPress(this.#button, () => this.#press());
    this.#volume.start();
    this.#recordings?.start();
    this.#render();
    this.#status.hush();
  }

  close() {
    this.#abort.abort();
    this.#recordings?.close();
    for (const part of [this.#status, this.#hold, this.#volume]) part.close();
  }

  #press() {
    const { listener } = this.#visit;
    const action = this.#action;
    this.#waits = action === "wait";
    if (action === "stop") listener.stop();
    else if (action === "listen") listener.listen(this.#name);
    this.#render();
  }

  #render() {
    const { listener } = this.#visit;
    const facts = listener.facts(this.#name);
    if (this.#waits && actionOf(facts, true) === "listen") {
      this.#waits = false;
      listener.listen(this.#name);
      return; // it tells what changes
    }
    const shown = view(facts, words.listen);
    const own = sentenceOf(facts, this.#waits, words.links);
    this.#status.render(facts, own ? { ...shown, sentence: own, announcement: own } : shown);
    this.#status.clock.hidden = !facts.stream;
    this.#card.dataset.state = this.#status.badge.dataset.state;
    this.#hold.element.hidden = facts.phase === "off" || !listener.hasOriginal;
    this.#renderButton(actionOf(facts, this.#waits));
  }

  /** @param {Action} action */
  #renderButton(action) {
    if (action === this.#action && this.#button.firstChild) return;
    this.#action = action;
    const { text, icon: name, kind } = BUTTONS[action];
    this.#button.dataset.testid = action === "stop" ? "unlisten" : action;
    this.#button.className = `large ${kind}`;
    this.#button.replaceChildren(icon(name), text);
  }
}
