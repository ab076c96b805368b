import { ApiError } from "../api.js";
import { button, el, icon, link } from "../dom.js";
import { Notice } from "./notice.js";
import { PlayerBar } from "./player_bar.js";
import { Timer } from "./timer.js";

/**
 * @import { ServerClock } from "../clock.js"
 * @import { Visit } from "../visit.js"
 */

const LINK_PATIENCE_MS = 1_500;

/** What stays on the page whichever view is shown: header, notices, the listening sound. */
export class Shell {
  #root;
  #clock;
  #outlet = el("main", { id: "view", tabindex: -1 });
  #account = el("nav", { class: "account", "aria-label": "Account" });
  #onSignOut;
  /** @type {AccountParts | null} */
  #parts = null;
  /** @type {PlayerBar | null} */
  #player = null;

  notice = new Notice();
  audio = el("audio", { testid: "listen-audio" });

  /**
   * @param {HTMLElement} root
   * @param {{ clock: ServerClock, onSignOut: () => void }} parts
   */
  constructor(root, { clock, onSignOut }) {
    this.#root = root;
    this.#clock = clock;
    this.#onSignOut = onSignOut;
    const logo = el("img", { src: "/static/logo.svg", alt: "", width: 30, height: 30 });
    const home = link("/", { class: "wordmark", "aria-label": "hushcast, home" }, logo, "hushcast");
    const header = el("header", { class: "top" }, home, this.#account);
    root.append(header, this.notice.element, this.#outlet, this.audio);
  }

  /** @param {HTMLElement} element */
  show(element) {
    this.#outlet.replaceChildren(element);
    this.#root.classList.toggle("at-home", element.classList.contains("home"));
  }

  /**
   * Show who is signed in, and what goes on; null for nobody.
   * @param {Visit | null} visit
   */
  attend(visit) {
    this.#parts?.close();
    this.#parts = visit && new AccountParts(visit, this.#clock, this.#onSignOut);
    this.#account.replaceChildren(...(this.#parts?.elements ?? []));
    this.#player?.close();
    this.#player = visit && new PlayerBar(visit);
    if (this.#player) this.#root.append(this.#player.element);
    this.#player?.start();
    this.#root.classList.toggle("signed-in", Boolean(visit));
  }
}

/** The header's right side: connection, own stream, listening, account. */
class AccountParts {
  #visit;
  #timer;
  #abort = new AbortController();
  /** @type {number | undefined} */
  #patience;
  #link = el("span", { class: "link-state", testid: "link-state", role: "status" });
  #onAir;
  #admin = link("/admin", { class: "me", testid: "admin", hidden: true }, "Admin");
  #listening = link("/", { class: "pill listening", testid: "listening-to" });

  /**
   * @param {Visit} visit
   * @param {ServerClock} clock
   * @param {() => void} onSignOut
   */
  constructor(visit, clock, onSignOut) {
    this.#visit = visit;
    this.#timer = new Timer(clock);
    this.#onAir = link(
      "/",
      { class: "pill on-air", testid: "on-air", "aria-label": "Your stream" },
      el("span", { class: "dot" }),
      this.#timer.element,
    );
    const me = link(`/u/${visit.username}`, { class: "me", testid: "me" }, visit.username);
    const out = button({ class: "quiet", testid: "sign-out", on: { click: onSignOut } }, "Sign out");
    this.elements = [this.#link, this.#listening, this.#onAir, this.#admin, me, out];
    const { signal } = this.#abort;
    visit.publisher.addEventListener("change", () => this.#render(), { signal });
    visit.listener.addEventListener("change", () => this.#render(), { signal });
    visit.presence.addEventListener("link", () => this.#renderLink(), { signal });
    this.#render();
    this.#renderLink();
    this.#askForRights();
  }

  /** Show administrators the way to their page. */
  async #askForRights() {
    try {
      this.#admin.hidden = !(await this.#visit.api.get("/api/me")).admin;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the page itself can still be opened
    }
  }

  close() {
    this.#abort.abort();
    this.#timer.close();
    clearTimeout(this.#patience);
  }

  #render() {
    const { publisher, listener } = this.#visit;
    this.#onAir.hidden = publisher.state === "off";
    this.#onAir.dataset.state = publisher.state;
    this.#timer.set(publisher.state === "off" ? null : (publisher.stream?.started_at ?? null));
    document.title = publisher.state === "live" ? "● live · hushcast" : "hushcast";
    const name = listener.username;
    this.#listening.hidden = !name;
    this.#listening.setAttribute("href", `/u/${name}`);
    this.#listening.setAttribute("aria-label", `Listening to ${name}`);
    this.#listening.replaceChildren(icon("headphones"), el("span", {}, name ?? ""));
  }

  /** Do not mention short interruptions. */
  #renderLink() {
    clearTimeout(this.#patience);
    this.#link.textContent = "";
    if (this.#visit.presence.isOnline) return;
    this.#patience = setTimeout(() => {
      this.#link.textContent = "Reconnecting…";
    }, LINK_PATIENCE_MS);
  }
}
