import { el, setText } from "../dom.js";

const LOSS_PATIENCE_MS = 1_000; // the news that a page said goodbye comes within this time

/** @import { View } from "../listen_state.js" */

/** What screen readers are told of a stream, each thing once; a loss only if it lasts. */
export class Announcement {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;
  #told = "";

  element = el("p", { class: "unseen", role: "status", testid: "announcement" });

  /** @param {Pick<View, "announcement" | "isLoss">} said */
  say({ announcement, isLoss }) {
    if (announcement === this.#told) return;
    clearTimeout(this.#patience);
    this.#told = announcement;
    if (!isLoss) return this.#write();
    this.#patience = setTimeout(() => this.#write(), LOSS_PATIENCE_MS);
  }

  /** A page that opens is read from its heading on: announce only what changes. */
  hush() {
    clearTimeout(this.#patience);
    this.element.textContent = "";
  }

  close() {
    clearTimeout(this.#patience);
  }

  #write() {
    setText(this.element, this.#told);
  }
}
