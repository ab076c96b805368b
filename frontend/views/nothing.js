import { el, link } from "../dom.js";
import { words } from "../words.js";

/** An address at which there is nothing. */
export class NothingView {
  title = words.shell.nothingHeading;

  element = el(
    "section",
    { class: "card stranger", testid: "nothing" },
    el("h1", {}, words.shell.nothingHeading),
    el("p", { class: "lead" }, words.shell.nothingText),
    link("/", { class: "button primary" }, words.shell.goHome),
  );

  start() {}

  close() {}
}
