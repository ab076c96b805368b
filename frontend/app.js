import { ApiError } from "./api.js";
import { routeOf } from "./routes.js";
import { Visit } from "./visit.js";
import { Backoff, pause } from "./waiting.js";
import { AdminView } from "./views/admin.js";
import { confirm } from "./views/confirm.js";
import { HomeView } from "./views/home.js";
import { NothingView } from "./views/nothing.js";
import { ProfileView } from "./views/profile.js";
import { RecordingView } from "./views/recording_page.js";
import { Shell } from "./views/shell.js";
import { SignInView } from "./views/sign_in.js";
import { words } from "./words.js";

/**
 * @import { Api, Me } from "./api.js"
 * @import { ServerClock } from "./clock.js"
 * @import { Route } from "./routes.js"
 * @typedef {{ element: HTMLElement, title?: string, start(): void, close(): void }} View
 */

/**
 * The page: who is signed in, and which view is shown.
 *
 * Views change without loading a page, so that a stream continues while its owner looks around. The
 * page's title is the view's `title`; a view whose title changes says so by the event `titlechange`
 * on its element. The focus goes to the view's `h1`, also to one that comes later.
 */
export class App {
  #api;
  #clock;
  #shell;
  /** @type {Visit | null} */
  #visit = null;
  /** @type {View | null} */
  #view = null;
  #path = "";

  /** @param {{ api: Api, clock: ServerClock, root: HTMLElement }} parts */
  constructor({ api, clock, root }) {
    this.#api = api;
    this.#clock = clock;
    this.#shell = new Shell(root, { clock, onSignOut: () => this.#signOut() });
  }

  async start() {
    document.addEventListener("click", (event) => this.#followLink(event));
    window.addEventListener("popstate", () => {
      if (location.pathname !== this.#path) this.#turn();
    });
    window.addEventListener("pagehide", () => this.#visit?.leave());
    this.#api.addEventListener("signedout", () => this.#expire(words.errors.signInAgain));
    const me = hasCookie() ? await this.#whoIsThere() : null;
    if (me) this.#begin(me);
    this.#show();
  }

  /**
   * Ask who is signed in, until there is an answer; null for nobody.
   * @returns {Promise<Me | null>}
   */
  async #whoIsThere() {
    const backoff = new Backoff();
    const { notice } = this.#shell;
    for (;;) {
      try {
        const me = await this.#api.get("/api/me");
        notice.clear();
        return me;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (!error.passing) return null;
        notice.show(error.message);
        await pause(backoff.next(error.retryAfterMs), new AbortController().signal);
      }
    }
  }

  /** @param {Me} me */
  #begin(me) {
    const visit = new Visit({
      api: this.#api,
      clock: this.#clock,
      me,
      audio: this.#shell.audio,
      notice: this.#shell.notice,
    });
    this.#visit = visit;
    visit.presence.addEventListener("control", (/** @type {CustomEvent} */ { detail }) => {
      if (detail.action !== "signed_out" || visit !== this.#visit) return;
      this.#expire(words.errors.told(detail.reason));
    });
    const onOpen = (/** @type {CustomEvent<string>} */ { detail }) => this.#go(detail);
    visit.notifier.addEventListener("open", onOpen);
    this.#shell.attend(visit);
    visit.start();
  }

  /** Sign out; while people listen to a stream of this page, only after a question. */
  async #signOut() {
    this.#shell.notice.clear();
    const { phase = "off", stream = null } = this.#visit?.publisher ?? {};
    const listening = phase === "off" ? 0 : (stream?.listeners ?? 0);
    const question = {
      question: words.account.signOutQuestion,
      consequence: words.stream.stopConsequence(listening),
      yes: words.account.signOut,
    };
    if (listening && !(await confirm(question))) return;
    await this.#visit?.close();
    try {
      await this.#api.delete("/api/session");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 401) {
        this.#shell.notice.show(words.account.stillSignedIn(error.message));
        return location.reload();
      }
    }
    this.#forget();
  }

  /**
   * The server no longer accepts the sign-in, and has ended what rested on it.
   * @param {string} why
   */
  #expire(why) {
    if (!this.#visit) return;
    const live = this.#visit.publisher.phase !== "off";
    this.#forget();
    this.#shell.notice.show(live ? `${why} ${words.stream.endedWithSignIn}` : why);
  }

  /** Go back to the sign-in view once nobody is signed in. */
  #forget() {
    if (!this.#visit) return;
    this.#visit.close({ tell: false });
    this.#visit = null;
    this.#shell.attend(null);
    this.#turn();
  }

  /** @param {MouseEvent} event */
  #followLink(event) {
    /** @type {HTMLAnchorElement | null} */
    const anchor = /** @type {Element} */ (event.target).closest("a[data-route]");
    if (!anchor || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.#go(anchor.pathname);
  }

  /** @param {string} path */
  #go(path) {
    if (path !== location.pathname) history.pushState(null, "", path);
    this.#shell.notice.clear();
    this.#turn();
    window.scrollTo(0, 0);
  }

  /** Show the view of the present address, and lead keyboard and screen reader there. */
  #turn() {
    this.#show();
    this.#shell.focusHeading();
  }

  #show() {
    const route = routeOf(location.pathname);
    if (route.view === "profile") keepAddress(`/u/${route.username}`);
    this.#path = location.pathname;
    this.#view?.close();
    const view = this.#makeView(route);
    this.#view = view;
    this.#shell.show(view);
    view.start();
  }

  /**
   * @param {Route} route
   * @returns {View}
   */
  #makeView(route) {
    const visit = this.#visit;
    if (route.view === "nothing") return new NothingView();
    if (!visit) {
      const onSignedIn = (/** @type {Me} */ me) => {
        this.#begin(me);
        this.#turn();
      };
      return new SignInView({ api: this.#api, route, onSignedIn });
    }
    switch (route.view) {
      case "admin":
        return new AdminView(visit);
      case "profile":
        return new ProfileView(visit, route.username);
      case "recording":
        return new RecordingView(visit, route.id);
      case "home":
        return new HomeView(visit, { onAccountDeleted: () => this.#forget() });
      default:
        return new NothingView();
    }
  }
}

/** Whether the page was served to somebody with a cookie of ours; scripts do not see it. */
function hasCookie() {
  return "cookie" in document.documentElement.dataset;
}

/**
 * Have the address bar show the usual spelling of an address.
 * @param {string} path
 */
function keepAddress(path) {
  if (location.pathname !== path) history.replaceState(null, "", path);
}
