import { ApiError } from "./api.js";
import { Visit } from "./visit.js";
import { AdminView } from "./views/admin.js";
import { HomeView } from "./views/home.js";
import { ProfileView } from "./views/profile.js";
import { Shell } from "./views/shell.js";
import { SignInView } from "./views/sign_in.js";

/**
 * @import { Api } from "./api.js"
 * @import { ServerClock } from "./clock.js"
 */

const PROFILE = /^\/u\/([^/]+)\/?$/;

/**
 * The page: who is signed in, and which view is shown.
 *
 * Views change without loading a page, so that a stream continues while its owner looks around.
 */
export class App {
  #api;
  #clock;
  #shell;
  /** @type {Visit | null} */
  #visit = null;
  /** @type {AdminView | HomeView | ProfileView | SignInView | null} */
  #view = null;

  /** @param {{ api: Api, clock: ServerClock, root: HTMLElement }} parts */
  constructor({ api, clock, root }) {
    this.#api = api;
    this.#clock = clock;
    this.#shell = new Shell(root, { clock, onSignOut: () => this.#signOut() });
  }

  async start() {
    document.addEventListener("click", (event) => this.#followLink(event));
    window.addEventListener("popstate", () => this.#show());
    window.addEventListener("pagehide", () => this.#visit?.leave());
    this.#api.addEventListener("signedout", () => this.#forget());
    try {
      this.#begin((await this.#api.get("/api/me")).username);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 401) this.#shell.notice.show(error.message);
      this.#show();
    }
  }

  /** @param {string} username */
  #begin(username) {
    const visit = new Visit({
      api: this.#api,
      clock: this.#clock,
      username,
      audio: this.#shell.audio,
      notice: this.#shell.notice,
    });
    this.#visit = visit;
    visit.presence.addEventListener("control", (/** @type {CustomEvent} */ { detail }) => {
      if (detail.action !== "signed_out" || visit !== this.#visit) return;
      this.#forget();
      this.#shell.notice.show(detail.reason);
    });
    this.#shell.attend(visit);
    visit.start();
    this.#show();
  }

  async #signOut() {
    this.#shell.notice.clear();
    await this.#visit?.close();
    try {
      await this.#api.delete("/api/session");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 401) {
        this.#shell.notice.show(`You are still signed in. ${error.message}`);
        return location.reload();
      }
    }
    this.#forget();
  }

  /** Go back to the sign-in view once nobody is signed in. */
  #forget() {
    if (!this.#visit) return;
    this.#visit.close();
    this.#visit = null;
    this.#shell.attend(null);
    this.#show();
  }

  /** @param {MouseEvent} event */
  #followLink(event) {
    /** @type {HTMLAnchorElement | null} */
    const anchor = /** @type {Element} */ (event.target).closest("a[data-route]");
    if (!anchor || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    if (anchor.pathname !== location.pathname) history.pushState(null, "", anchor.pathname);
    this.#shell.notice.clear();
    this.#show();
    window.scrollTo(0, 0);
  }

  #show() {
    this.#view?.close();
    const view = this.#makeView();
    this.#view = view;
    this.#shell.show(view.element);
    view.start();
  }

  #makeView() {
    const { notice } = this.#shell;
    if (!this.#visit) {
      return new SignInView({ api: this.#api, notice, onSignedIn: this.#begin.bind(this) });
    }
    if (location.pathname === "/admin") return new AdminView(this.#visit);
    const name = location.pathname.match(PROFILE)?.[1];
    if (name) return new ProfileView(this.#visit, decoded(name));
    return new HomeView(this.#visit, { onAccountDeleted: () => this.#forget() });
  }
}

/**
 * Decode a part of a path; one with malformed escapes stands for itself.
 * @param {string} part
 */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return part;
  }
}
