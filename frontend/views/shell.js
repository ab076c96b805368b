import { button, el, icon, link } from "../dom.js";
import { words } from "../words.js";
import { FocusKeeper } from "./focus_keeper.js";
import { Notice } from "./notice.js";
import { PlayerBar } from "./player_bar.js";
import { Timer } from "./timer.js";

/**
 * @import { View } from "../app.js"
 * @import { ServerClock } from "../clock.js"
 * @import { Visit } from "../visit.js"
 */

const LINK_PATIENCE_MS = 1_500;
const NAME = "hushcast";

/** What stays on the page whichever view is shown: header, title, notices, the listening sound. */
export class Shell {
  #root;
  #clock;
  #outlet = el("main", { id: "view", tabindex: -1 });
  #account = el("nav", { class: "account", "aria-label": words.shell.accountNavigation });
  #onSignOut;
  /** @type {View | null} */
  #view = null;
  /** @type {Visit | null} */
  #visit = null;
  /** @type {AccountParts | null} */
  #parts = null;
  #heading = new MutationObserver(() => this.#lookForHeading());
  #attended = new AbortController();
  /** @type {PlayerBar | null} */
  #player = null;

  notice = new Notice();
  audio = el("audio", { testid: "listen-audio" });
  /** What lies above the lower edge of the window, over the view: messages, and below them the player. */
  dock = el("div", { class: "dock" }, this.notice.element);

  /**
   * @param {HTMLElement} root
   * @param {{ clock: ServerClock, onSignOut: () => void }} parts
   */
  constructor(root, { clock, onSignOut }) {
    this.#root = root;
    this.#clock = clock;
    this.#onSignOut = onSignOut;
    const skip = el("a", { class: "skip button primary", href: "#view" }, words.shell.skip);
    skip.addEventListener("click", (event) => {
      event.preventDefault(); // the address stays
      this.focusHeading();
    });
    const home = link("/", { class: "wordmark", "aria-label": words.shell.home }, icon("logo"), NAME);
    const header = el("header", { class: "top" }, home, this.#account);
    root.querySelector("header")?.remove(); // the page's own, which is there before its script
    root.prepend(skip, header, this.#outlet, this.dock, this.audio);
    this.#outlet.addEventListener("titlechange", () => this.#renderTitle());
    new FocusKeeper(root);
    const { style } = document.documentElement;
    new ResizeObserver(() => style.setProperty("--dock", `${this.dock.offsetHeight}px`)).observe(this.dock);
  }

  /** @param {View} view */
  show(view) {
    this.#view = view;
    this.#outlet.replaceChildren(view.element);
    this.#root.classList.toggle("at-home", view.element.classList.contains("home"));
    this.#renderTitle();
  }

  /** Move the focus to the view's heading; until one is there, to the view. */
  focusHeading() {
    this.#outlet.focus({ preventScroll: true });
    this.#heading.observe(this.#outlet, { subtree: true, childList: true });
    this.#lookForHeading();
  }

  /**
   * Show who is signed in, and what goes on; null for nobody.
   * @param {Visit | null} visit
   */
  attend(visit) {
    this.#parts?.close();
    this.#attended.abort();
    this.#attended = new AbortController();
    this.#visit = visit;
    this.#parts = visit && new AccountParts(visit, this.#clock, this.#onSignOut);
    this.#account.replaceChildren(...(this.#parts?.elements ?? []));
    this.#player?.close();
    this.#player = visit && new PlayerBar(visit);
    if (this.#player) this.dock.append(this.#player.element);
    this.#player?.start();
    this.#root.classList.toggle("signed-in", Boolean(visit));
    const { signal } = this.#attended;
    visit?.publisher.addEventListener("change", () => this.#renderTitle(), { signal });
    visit?.friends.addEventListener("change", () => this.#renderTitle(), { signal });
    visit?.presence.addEventListener("stream", () => this.#renderTitle(), { signal });
    this.#renderTitle();
  }

  #lookForHeading() {
    const heading = this.#outlet.querySelector("h1");
    const waiting = document.activeElement === this.#outlet;
    if (heading || !waiting) this.#heading.disconnect();
    if (!heading || !waiting) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }

  #renderTitle() {
    const title = this.#view?.title ? `${this.#view.title} · ${NAME}` : NAME;
    document.title = decorated(title, this.#visit);
  }
}

/**
 * Say in a title who is live: the user, else friends.
 * @param {string} title
 * @param {Visit | null} visit
 */
function decorated(title, visit) {
  if (!visit) return title;
  const { friends, presence, publisher } = visit;
  if (publisher.state === "live") return words.shell.liveTitle(title);
  const live = friends.friends.filter((name) => presence.streamOf(name)?.state === "live");
  return live.length ? words.shell.friendsLiveTitle(live, title) : title;
}

/** The header's right side: connection, own stream, account. */
class AccountParts {
  #visit;
  #timer;
  #abort = new AbortController();
  /** @type {number | undefined} */
  #patience;
  #link = el("span", { class: "link-state", testid: "link-state", role: "status" });
  #onAir;

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
      { class: "pill on-air", testid: "on-air", "aria-label": words.shell.yourStream },
      el("span", { class: "dot" }),
      this.#timer.element,
    );
    const { username, admin } = visit.me;
    const rights = link("/admin", { class: "me", testid: "admin", hidden: !admin }, words.shell.admin);
    const me = link(`/u/${username}`, { class: "me", testid: "me" }, username);
    const leave = { class: "quiet", testid: "sign-out", on: { click: onSignOut } };
    const out = button(leave, words.account.signOut);
    this.elements = [this.#link, this.#onAir, rights, me, out];
    const { signal } = this.#abort;
    visit.publisher.addEventListener("change", () => this.#render(), { signal });
    visit.presence.addEventListener("link", () => this.#renderLink(), { signal });
    this.#render();
    this.#renderLink();
  }

  close() {
    this.#abort.abort();
    this.#timer.close();
    clearTimeout(this.#patience);
  }

  #render() {
    const { publisher } = this.#visit;
    this.#onAir.hidden = publisher.state === "off";
    this.#onAir.dataset.state = publisher.state;
    this.#timer.set(publisher.state === "off" ? null : (publisher.stream?.started_at ?? null));
  }

  /** Do not mention short interruptions. */
  #renderLink() {
    clearTimeout(this.#patience);
    this.#link.textContent = "";
    const { presence } = this.#visit;
    if (presence.isOnline) return;
    this.#patience = setTimeout(() => {
      this.#link.textContent = presence.hasBegun ? words.shell.reconnecting : words.shell.connecting;
    }, LINK_PATIENCE_MS);
  }
}
