import { ApiError } from "../api.js";
import { formatDuration } from "../clock.js";
import { button, el, icon, link } from "../dom.js";
import { RATES, titleOf } from "../player.js";
import { describe, isKept, whyGone } from "../recording_words.js";
import { pause } from "../waiting.js";
import { words, writeMoment } from "../words.js";
import { Field } from "./field.js";
import { Waveform } from "./waveform.js";

/**
 * @import { Recording } from "../api.js"
 * @import { Visit } from "../visit.js"
 * @typedef {keyof typeof words.recordings.formats} Format
 */

const SKIP_S = 15;
const ASK_AGAIN_MS = 2_000;
const UNDO_MS = 30_000;
/** @type {Format[]} */
const FORMATS = ["wav", "flac", "small"];

/** The page of one recording, or the reason why there is none. Changes live. */
export class RecordingView {
  #visit;
  #id;
  #path;
  #abort = new AbortController();
  /** @type {Recording | null} */
  #recording = null;
  /** @type {Parts | null} */
  #parts = null;

  element = el("div", { class: "recording-page" });
  title = words.common.recordings;

  /**
   * @param {Visit} visit
   * @param {string} id
   */
  constructor(visit, id) {
    this.#visit = visit;
    this.#id = id;
    this.#path = `/api/recordings/${encodeURIComponent(id)}`;
  }

  start() {
    const { signal } = this.#abort;
    const { presence } = this.#visit;
    const onRecording = (/** @type {CustomEvent} */ { detail }) => this.#take(detail.recording);
    presence.addEventListener("recording", onRecording, { signal });
    presence.keepUp(() => this.#load(), signal);
  }

  close() {
    this.#abort.abort();
    this.#parts?.close();
  }

  /** @param {Recording} recording */
  #take(recording) {
    if (recording.id !== this.#id || !this.#recording) return;
    if (recording.state === "deleted") this.#show(recording);
    else this.#load(); // the news has only some of its peaks
  }

  async #load() {
    try {
      const recording = await this.#visit.api.get(this.#path);
      if (!this.#abort.signal.aborted) this.#show(recording);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.#abort.signal.aborted) return;
      if (error.status !== 404) this.#visit.notice.complain(error.message);
      else if (this.#recording?.state !== "deleted") this.#showMissing();
    }
  }

  #showMissing() {
    this.#parts?.close();
    this.#parts = null;
    this.element.replaceChildren(el("h1", { class: "lead" }, words.recordings.missing));
  }

  /** @param {Recording} recording */
  #show(recording) {
    this.#recording = recording;
    this.title = titleOf(recording);
    this.element.dispatchEvent(new Event("titlechange", { bubbles: true }));
    if (this.#parts) return this.#parts.set(recording);
    const tell = (/** @type {Recording} */ changed) => this.#show(changed);
    this.#parts = new Parts(this.#visit, recording, { path: this.#path, tell });
    this.element.replaceChildren(this.#parts.element);
  }
}

/** What the page shows of a recording. */
class Parts {
  #visit;
  #recording;
  #path;
  #tell;
  #abort = new AbortController();
  #heading = el("h1", { testid: "recording-title" });
  #rename = button({ class: "quiet small", testid: "rename" }, words.recordings.rename);
  #field = new Field({
    label: words.recordings.title,
    rule: words.recordings.titleRule,
    testid: "recording-title-field",
    maxlength: 80,
    autocomplete: "off",
  });
  #form = el(
    "form",
    { class: "rename", hidden: true },
    this.#field.element,
    el(
      "div",
      { class: "row actions" },
      button({ type: "submit", class: "primary small", testid: "save-title" }, words.common.save),
      button({ class: "small", on: { click: () => this.#rest() } }, words.common.cancel),
    ),
  );
  #by = el("p", { class: "by" });
  #sentence = el("p", { class: "sentence", role: "status", testid: "recording-state" });
  #waveform = new Waveform();
  #play = button({ class: "round", testid: "play" });
  #time = el("span", { class: "clockwork", testid: "recording-time" });
  #rate = el("select", { class: "rate", testid: "rate", "aria-label": words.listen.rate });
  #player;
  #links;
  #more;
  #delete = button({ class: "small", testid: "delete" }, words.common.delete);
  #undo = button({ class: "small", testid: "undo" }, words.common.undo);
  /** @type {number | undefined} */
  #tooLate;

  /**
   * @param {Visit} visit
   * @param {Recording} recording
   * @param {{ path: string, tell: (recording: Recording) => void }} calls
   */
  constructor(visit, recording, { path, tell }) {
    this.#visit = visit;
    this.#recording = recording;
    this.#path = path;
    this.#tell = tell;
    for (const rate of RATES) this.#rate.append(el("option", { value: rate }, words.listen.speed(rate)));
    this.#links = new Map(FORMATS.map((format) => [format, this.#makeLink(format)]));
    const share = button({ class: "small", testid: "share" }, words.recordings.share);
    share.addEventListener("click", () => this.#share());
    this.#player = el(
      "div",
      { class: "row" },
      el(
        "div",
        { class: "row skips" },
        this.#skip(-SKIP_S, words.recordings.back(SKIP_S)),
        this.#play,
        this.#skip(SKIP_S, words.recordings.ahead(SKIP_S)),
      ),
      this.#time,
      this.#rate,
    );
    this.#more = el(
      "div",
      { class: "row more" },
      el("span", { class: "hint", id: "recording-downloads" }, words.recordings.downloads),
      el("div", { class: "row", role: "group", "aria-labelledby": "recording-downloads" }, ...this.#links.values()),
      share,
      this.#delete,
    );
    this.element = el(
      "section",
      { class: "card" },
      el("div", { class: "row between" }, this.#heading, this.#rename),
      this.#form,
      this.#by,
      this.#waveform.element,
      this.#player,
      el("div", { class: "row between" }, this.#sentence, this.#undo),
      this.#more,
    );
    this.#listen();
    this.set(recording);
  }

  /**
   * Show the recording as it is now.
   * @param {Recording} recording
   */
  set(recording) {
    this.#recording = recording;
    const [kept, gone, mine] = [isKept(recording), recording.state === "deleted", this.#isMine];
    const title = titleOf(recording);
    this.#heading.textContent = title;
    this.#rename.hidden = !mine || gone || !this.#form.hidden;
    if (gone) this.#form.hidden = true;
    this.#by.replaceChildren(
      link(`/u/${recording.username}`, {}, recording.username),
      ` · ${writeMoment(recording.started_at)} · ${describe(recording, 0)}`,
    );
    this.#waveform.label = words.recordings.positionIn(title);
    this.#waveform.set(recording.peaks, recording.duration_s, { enabled: kept });
    for (const part of [this.#waveform.element, this.#player, this.#more]) part.hidden = gone;
    this.#play.disabled = !kept;
    this.#delete.hidden = !mine;
    this.#delete.disabled = !kept;
    for (const each of this.#links.values()) each.setAttribute("aria-disabled", String(!kept));
    this.#undo.hidden = !mine || recording.reason !== "owner";
    this.#sentence.textContent = gone
      ? whyGone(recording, this.#visit.username)
      : kept
        ? ""
        : words.recordings.notYet;
    clearTimeout(this.#tooLate);
    if (!this.#undo.hidden) this.#tooLate = setTimeout(() => this.#giveUp(), UNDO_MS);
    this.#renderPlaying();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#tooLate);
    this.#waveform.close();
  }

  get #isMine() {
    return this.#recording.username === this.#visit.username;
  }

  get #isCurrent() {
    return this.#visit.player.recording?.id === this.#recording.id;
  }

  get #position() {
    const { player, positions } = this.#visit;
    return this.#isCurrent ? player.position_s : positions.of(this.#recording.id);
  }

  #listen() {
    const { signal } = this.#abort;
    const { player } = this.#visit;
    player.addEventListener("change", () => this.#renderPlaying(), { signal });
    player.addEventListener("time", () => this.#renderPosition(), { signal });
    this.#play.addEventListener("click", () => {
      if (this.#isCurrent) player.toggle(this.#recording);
      else player.play(this.#recording, { at_s: this.#position });
    });
    const onSeek = (/** @type {CustomEvent<number>} */ { detail }) => this.#seek(detail);
    this.#waveform.addEventListener("seek", onSeek);
    this.#rate.addEventListener("change", () => {
      player.rate = Number(this.#rate.value);
    });
    this.#rename.addEventListener("click", () => this.#edit());
    this.#form.addEventListener("submit", (event) => this.#save(event));
    this.#form.addEventListener("keydown", ({ key }) => key === "Escape" && this.#rest());
    this.#delete.addEventListener("click", () => this.#remove());
    this.#undo.addEventListener("click", () => this.#restore());
  }

  /**
   * @param {number} seconds
   * @param {string} label
   */
  #skip(seconds, label) {
    const go = () => this.#seek(Math.max(0, Math.min(this.#position + seconds, this.#recording.duration_s)));
    return button({ class: "quiet small", on: { click: go } }, label);
  }

  /** @param {number} position s */
  #seek(position) {
    const { player, positions } = this.#visit;
    if (this.#isCurrent) return player.seek(position);
    positions.set(this.#recording.id, position);
    this.#renderPosition();
  }

  #renderPlaying() {
    const { player } = this.#visit;
    const playing = this.#isCurrent && !player.paused;
    const say = playing ? words.listen.pause : words.listen.play;
    this.#play.replaceChildren(icon(playing ? "pause" : "play"));
    this.#play.setAttribute("aria-label", say(titleOf(this.#recording)));
    this.#rate.value = String(player.rate);
    this.#renderPosition();
  }

  #renderPosition() {
    const [position, length] = [this.#position, this.#recording.duration_s];
    this.#waveform.move(position);
    this.#time.textContent = words.listen.timeOf(formatDuration(position), formatDuration(length));
  }

  #edit() {
    this.#field.value = this.#recording.title ?? "";
    this.#form.hidden = false;
    this.#rename.hidden = true;
    this.#field.input.select();
    this.#field.input.focus();
  }

  /** Show the title instead of its field. */
  #rest() {
    this.#form.hidden = true;
    this.#rename.hidden = false;
    this.#rename.focus();
  }

  /** @param {SubmitEvent} event */
  async #save(event) {
    event.preventDefault();
    try {
      this.#tell(await this.#visit.api.patch(this.#path, { title: this.#field.value || null }));
      this.#rest();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#field.refuse(error.message);
    }
  }

  async #remove() {
    if (!(await this.#visit.attempt(() => this.#visit.api.delete(this.#path)))) return;
    this.#tell({ ...this.#recording, state: "deleted", reason: "owner" });
    this.#undo.focus();
  }

  async #restore() {
    await this.#visit.attempt(async () => {
      try {
        this.#tell(await this.#visit.api.post(`${this.#path}/restore`));
        this.#play.focus();
      } catch (error) {
        if (error.status !== 404) throw error;
        this.#giveUp();
      }
    });
  }

  /** It is gone for good. */
  #giveUp() {
    this.#undo.hidden = true;
    this.#sentence.textContent = words.recordings.tooLate;
  }

  async #share() {
    const [url, title] = [new URL(`/r/${this.#recording.id}`, location.href).href, titleOf(this.#recording)];
    try {
      if (navigator.share) return await navigator.share({ title, url });
      await navigator.clipboard.writeText(url); // a page without https has no clipboard
      this.#visit.notice.show(words.recordings.shared);
    } catch (error) {
      if (error.name !== "AbortError") this.#visit.notice.show(words.recordings.address(url));
    }
  }

  /** @param {Format} format */
  #makeLink(format) {
    const name = words.recordings.formats[format];
    const about = { class: "button small", testid: `download-${format}`, download: true };
    const label = words.recordings.downloadAs(name);
    const anchor = el("a", { ...about, "aria-label": label, href: this.#address(format) }, name);
    anchor.addEventListener("click", (event) => {
      if (anchor.getAttribute("aria-disabled") === "true") return event.preventDefault();
      if (this.#recording.formats.includes(format)) return;
      event.preventDefault();
      this.#prepare(format);
    });
    return anchor;
  }

  /** @param {Format} format */
  #address(format) {
    return `${this.#path}/audio?format=${format}&download=1`;
  }

  /**
   * Have a format made, and download it once it is there, if the page is still open.
   * @param {Format} format
   */
  async #prepare(format) {
    const { api, notice } = this.#visit;
    const { signal } = this.#abort;
    notice.show(words.recordings.preparing(words.recordings.formats[format]));
    try {
      await api.head(this.#address(format)).catch((error) => {
        if (error.status !== 409) throw error; // it is being made
      });
      while (!(await api.get(this.#path)).formats.includes(format)) await pause(ASK_AGAIN_MS, signal);
    } catch (error) {
      if (error instanceof ApiError) notice.complain(error.message);
      else if (!signal.aborted) throw error;
      return;
    }
    if (signal.aborted) return;
    notice.clear();
    el("a", { href: this.#address(format), download: true }).click();
  }
}
