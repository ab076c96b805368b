import { formatDuration } from "../clock.js";
import { button, el, icon, link } from "../dom.js";
import { RATES, titleOf } from "../player.js";
import { words } from "../words.js";
import { Volume } from "./volume.js";

/** @import { Visit } from "../visit.js" */

const STEP_S = 5;

/** What plays, below every view: the stream that is heard, or a recording, and their volume. */
export class PlayerBar {
  #visit;
  #abort = new AbortController();
  #toggle = button({ class: "round", testid: "player-toggle" });
  #title = link("/", { class: "title", testid: "player-title" });
  #about = el("span", { class: "about hint" });
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

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    this.#volume = new Volume(visit.player, { testid: "player-volume" });
    for (const rate of RATES) this.#rate.append(el("option", { value: rate }, words.listen.speed(rate)));
    this.element = el(
      "section",
      { class: "player", testid: "player", "aria-label": words.listen.player },
      this.#toggle,
      el("div", { class: "what" }, this.#title, this.#about),
      this.#seek,
      this.#rate,
      this.#volume.element,
      this.#close,
      visit.player.audio,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { player } = this.#visit;
    player.addEventListener("change", () => this.#render(), { signal });
    player.addEventListener("time", () => this.#renderPosition(), { signal });
    this.#toggle.addEventListener("click", () => this.#press());
    this.#close.addEventListener("click", () => player.eject());
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
    this.#volume.close();
    this.element.remove();
  }

  #press() {
    const { player, listener } = this.#visit;
    if (player.live) return listener.stop();
    if (player.recording) player.toggle(player.recording);
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
    const { live, recording } = this.#visit.player;
    this.element.hidden = !live && !recording;
    for (const part of [this.#seek, this.#rate, this.#close]) part.hidden = Boolean(live);
    if (live) this.#renderLive(live);
    else if (recording) this.#renderRecording();
  }

  /** @param {string} username */
  #renderLive(username) {
    this.#show("stop", words.listen.stopListening(username));
    this.#title.textContent = username;
    this.#title.href = `/u/${username}`;
    this.#about.textContent = words.listen.liveAbout;
  }

  #renderRecording() {
    const { player } = this.#visit;
    const { recording } = player;
    if (!recording) return;
    const title = titleOf(recording);
    this.#show(player.paused ? "play" : "pause", words.listen[player.paused ? "play" : "pause"](title));
    this.#title.textContent = title;
    this.#title.href = `/r/${encodeURIComponent(recording.id)}`;
    this.#rate.value = String(player.rate);
    this.#renderPosition();
  }

  /**
   * @param {string} name
   * @param {string} label
   */
  #show(name, label) {
    if (this.#toggle.getAttribute("aria-label") === label) return;
    this.#toggle.replaceChildren(icon(name));
    this.#toggle.setAttribute("aria-label", label);
  }

  #renderPosition() {
    const { player } = this.#visit;
    if (player.live || !player.recording) return;
    const { position_s: position, duration_s: duration, recording } = player;
    this.#seek.max = String(duration || 1);
    this.#seek.value = String(position);
    const time = words.listen.timeOf(formatDuration(position), formatDuration(duration));
    this.#seek.setAttribute("aria-valuetext", time);
    this.#about.textContent = `${recording.username} · ${time}`;
  }
}
