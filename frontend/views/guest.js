import { el, button, icon } from "../dom.js";
import { actionOf, sentenceOf } from "../guest_state.js";
import { view } from "../listen_state.js";
import { words } from "../words.js";
import { GuestRecordings } from "./guest_recordings.js";
import { HoldButton } from "./hold_button.js";
import { LiveWaveform } from "./live_waveform.js";
import { onPress } from "./press.js";
import { Timer } from "./timer.js";
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
  #word = el("span", { testid: "stream-state" });
  #badge = el("span", { class: "badge" }, this.#word);
  #timer;
  #title = el("p", { class: "stream-title", testid: "stream-title" });
  #sentence = el("p", { class: "sentence", testid: "listen-sentence" });
  #announcement = el("p", { class: "unseen", role: "status" });
  #waveform;
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
    this.#timer = new Timer(visit.clock, { testid: "timer", class: "clock" });
    this.#waveform = new LiveWaveform(visit.listener);
    this.#hold = new HoldButton(visit.listener);
    this.#volume = new Volume(visit.player, { testid: "volume" });
    this.#recordings = visit.link.recordings ? new GuestRecordings(visit) : null;
    this.element = el(
      "div",
      { class: "profile" },
      el(
        "section",
        { class: "card listen", "aria-label": words.listen.streamOf(name) },
        el("div", { class: "row between" }, el("h1", {}, name), this.#badge),
        this.#timer.element,
        this.#title,
        this.#sentence,
        this.#announcement,
        this.#waveform.element,
        el("div", { class: "row actions" }, this.#button, this.#hold.element, this.#volume.element),
      ),
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
    this.#announcement.textContent = ""; // a page that opens is read from its heading on
  }

  close() {
    this.#abort.abort();
    this.#recordings?.close();
    for (const part of [this.#timer, this.#waveform, this.#hold, this.#volume]) part.close();
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
    const { badge, word, sentence, announcement } = view(facts, words.listen);
    const own = sentenceOf(facts, this.#waits, words.links);
    this.element.dataset.state = this.#badge.dataset.state = badge === "muted" ? "live" : badge;
    this.element.firstElementChild?.setAttribute("data-state", badge === "muted" ? "live" : badge);
    set(this.#word, word);
    set(this.#sentence, own ?? sentence);
    set(this.#announcement, own ?? announcement);
    set(this.#title, facts.stream?.title ?? "");
    this.#timer.set(facts.stream?.started_at ?? null);
    this.#timer.element.hidden = !facts.stream;
    this.#waveform.run(facts.phase === "connected");
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

/**
 * Set a text unless it is the same, so that screen readers do not read it again.
 * @param {HTMLElement} element
 * @param {string} text
 */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
