import { el } from "../dom.js";
import { words } from "../words.js";

/** What a link's page shows once the link is no longer valid. */
export class LinkOver {
  title = words.links.overHeading;

  element = el(
    "section",
    { class: "card stranger", testid: "link-over" },
    el("h1", {}, words.links.overHeading),
    el("p", { class: "lead" }, words.links.overText),
    el("a", { class: "button", href: "/" }, words.links.whatIsThis),
  );

  start() {}

  close() {}
}
