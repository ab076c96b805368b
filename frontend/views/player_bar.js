import { formatDuration } from "../clock.js";
import { button, el, icon, link } from "../dom.js";
import { view } from "../listen_state.js";
import { RATES, titleOf } from "../player.js";
import { words } from "../words.js";
import { Announcement } from "./announcement.js";
import { Volume } from "./volume.js";

/**
 * @import { Recording } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const STEP_S = 5;

/**
 * What plays, below every view: the stream that is heard, or a recording, and their volume. It
 * also tells screen readers what becomes of the stream.
 */
export class PlayerBar {
  #visit;
  #abort = new AbortController();
  #toggle = button({ class: "round", testid: "player-toggle" });
  #title = link("/", { class: "title", testid: "player-title" });
  #about = el("span", { class: "about hint", testid: "player-about" });
  #seek = el("input", {
    type: "range",
    min: 0,
    step: "any",
    class: "seek",
    testid: "player-seek",
    "aria-label": words.listen.position,
  });
  #rate = el("select", { class: "rate", testid: "player-rate", "aria-label": words.listen.rate });
  #close = button(
    { class: "quiet icon-only", testid: "player-close", "aria-label": words.listen.closePlayer },
    icon("close"),
  );
  #volume;
  #announcement = new Announcement();
  #bar;

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#volume = new Volume(visit.player, { testid: "player-volume" });
    for (const rate of RATES) this.#rate.append(el("option", { value: rate }, words.listen.speed(rate)));
    this.#bar = el(
      "section",
      { class: "player", testid: "player", "aria-label": words.listen.player },
      this.#toggle,
      el("div", { class: "what" }, this.#title, this.#about),
      this.#seek,
      this.#rate,
      this.#volume.element,
      this.#close,
    );
    this.element = el("div", { class: "player-place" }, this.#bar, this.#announcement.element, visit.player.audio);
  }

  start() {
    const { signal } = this.#abort;
    const { listener, player, presence } = this.#visit;
    player.addEventListener("change", () => this.#render(), { signal });
    player.addEventListener("time", () => this.#renderPosition(), { signal });
    listener.addEventListener("change", () => this.#render(), { signal });
    presence.addEventListener("stream", () => this.#render(), { signal });
    this.#toggle.addEventListener("click", () => this.#press());
    this.#close.addEventListener("click", () => this.#dismiss());
    this.#rate.addEventListener("change", () => {
      player.rate = Number(this.#rate.value);
    });
    this.#seek.addEventListener("input", () => player.seek(this.#seek.valueAsNumber));
    this.#seek.addEventListener("keydown", (event) => this.#step(event));
    this.#volume.start();
    this.#render();
  }

  close() {
    this.#abort.abort();
    this.#announcement.close();
    this.#volume.close();
    this.element.remove();
  }

  /** Whose stream the bar shows, null while it shows a recording. */
  get #live() {
    const { listener, player } = this.#visit;
    return player.paused ? listener.concern : listener.username;
  }

  #press() {
    const { player, listener } = this.#visit;
    const live = this.#live;
    if (player.live) return listener.stop();
    if (live) return this.#visit.attempt(() => listener.listen(live));
    if (player.recording) player.toggle(player.recording);
  }

  #dismiss() {
    const { player, listener } = this.#visit;
    if (this.#live) listener.dismiss();
    else player.eject();
  }

  /**
   * Arrow keys move by 5 s: a range with step "any" has no step of its own.
   * @param {KeyboardEvent} event
   */
  #step(event) {
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S };
    const by = steps[event.key];
    if (!by) return;
    event.preventDefault();
    this.#visit.player.seek(this.#visit.player.position_s + by);
  }

  #render() {
    const { recording, live: isListening } = this.#visit.player;
    const live = this.#live;
    this.#bar.hidden = !live && !recording;
    for (const part of [this.#seek, this.#rate]) part.hidden = Boolean(live);
    this.#close.hidden = Boolean(isListening);
    if (live) this.#renderLive(live);
    else if (recording) this.#renderRecording(recording);
    if (!live) this.#announcement.say({ announcement: "", isLoss: false });
  }

  /** @param {string} username */
  #renderLive(username) {
    const { listener } = this.#visit;
    const said = view(listener.facts(username), words.listen);
    const label = said.isListening ? words.listen.stopListening(username) : words.listen.listenTo(username);
    this.#show(said.isListening ? "stop" : "headphones", label, said.isListening || said.canListen);
    this.#title.dataset.testid = "listening-to";
    this.#title.textContent = username;
    this.#title.href = `/u/${username}`;
    this.#about.textContent = said.sentence;
    this.#announcement.say(said);
  }

  /** @param {Recording} recording */
  #renderRecording(recording) {
    const { player } = this.#visit;
    const title = titleOf(recording);
    const label = player.paused ? words.listen.play(title) : words.listen.pause(title);
    this.#show(player.paused ? "play" : "pause", label, true);
    this.#title.dataset.testid = "player-title";
    this.#title.textContent = title;
    this.#title.href = `/r/${encodeURIComponent(recording.id)}`;
    this.#rate.value = String(player.rate);
    this.#renderPosition();
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {boolean} enabled
   */
  #show(name, label, enabled) {
    this.#toggle.setAttribute("aria-disabled", String(!enabled));
    if (this.#toggle.getAttribute("aria-label") === label) return;
    this.#toggle.replaceChildren(icon(name));
    this.#toggle.setAttribute("aria-label", label);
  }

  #renderPosition() {
    const { player } = this.#visit;
    if (this.#live || !player.recording) return;
    const { position_s: position, duration_s: duration, recording } = player;
    this.#seek.max = String(duration || 1);
    this.#seek.value = String(position);
    const time = words.listen.timeOf(formatDuration(position), formatDuration(duration));
    this.#seek.setAttribute("aria-valuetext", time);
    this.#about.textContent = `${recording.username} · ${time}`;
  }
}
