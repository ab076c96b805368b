import { ApiError } from "../api.js";
import { button, el } from "../dom.js";
import { words, writeDay, writeMoment } from "../words.js";
import { confirm } from "./confirm.js";
import { Field, accepted } from "./field.js";
import { KeyedList } from "./keyed_list.js";

/**
 * @import { InviteLink } from "../api.js"
 * @import { Visit } from "../visit.js"
 */

const say = words.links;
const USUAL_S = "604800";
const MAX_LABEL_CHARS = 80;
const DAY_MS = 24 * 3600 * 1000;

/** The user's invite links: make one and copy it, see how many listen by each, revoke it. */
export class LinksPanel {
  #visit;
  #abort = new AbortController();
  #turn = 0;
  /** @type {Map<string, InviteLink>} */
  #links = new Map();
  #label = new Field({
    label: say.label,
    rule: say.labelRule,
    testid: "link-label",
    autocomplete: "off",
    maxlength: MAX_LABEL_CHARS,
  });
  #length = el("select", { id: "link-length", testid: "link-length" });
  #recordings = el("input", { type: "checkbox", testid: "link-recordings" });
  #make = button({ type: "submit", testid: "make-link" }, say.make);
  #address = el("input", { readonly: true, testid: "link-address", "aria-label": say.address });
  #copy = button({ class: "primary", testid: "copy-link" }, words.common.copy);
  #made = el(
    "div",
    { class: "made", hidden: true },
    el("p", { role: "status", testid: "link-made" }, say.made),
    el("div", { class: "row add" }, this.#address, this.#copy),
  );
  #rows = el("ul", { class: "people", testid: "links", "aria-label": say.list });
  #list = new KeyedList(this.#rows, (id) => this.#row(id));
  #form;
  #new;

  /** @param {Visit} visit */
  constructor(visit) {
    this.#visit = visit;
    for (const [seconds, text] of Object.entries(say.lengths)) {
      this.#length.append(el("option", { value: seconds, selected: seconds === USUAL_S }, text));
    }
    this.#form = el(
      "form",
      { method: "post" },
      this.#label.element,
      el("div", { class: "field" }, el("label", { for: "link-length" }, say.validFor), this.#length),
      el("label", { class: "check" }, this.#recordings, el("span", {}, say.withRecordings)),
      this.#make,
    );
    this.#new = el("details", { testid: "new-link" }, el("summary", {}, say.make), this.#form);
    this.element = el(
      "section",
      { class: "card links-panel", "aria-label": say.heading },
      el("h2", {}, say.heading),
      el("p", { class: "hint" }, say.about),
      this.#rows,
      this.#made,
      this.#new,
    );
  }

  start() {
    const { signal } = this.#abort;
    const { presence } = this.#visit;
    presence.addEventListener("listeners", () => this.#load(), { signal });
    presence.keepUp(() => this.#load(), signal);
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#copy.addEventListener("click", () => this.#copyAddress());
  }

  close() {
    this.#abort.abort();
    this.#list.close();
  }

  async #load() {
    const turn = ++this.#turn;
    let links;
    try {
      links = await this.#visit.api.get("/api/links");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return; // asked again with the next snapshot
    }
    if (turn === this.#turn && !this.#abort.signal.aborted) this.#show(links);
  }

  /** @param {InviteLink[]} links */
  #show(links) {
    this.#links = new Map(links.map((each) => [each.id, each]));
    this.#list.show([...this.#links.keys()]);
    for (const row of this.#list.rows) row.render();
  }

  /** @param {SubmitEvent} event */
  async #submit(event) {
    event.preventDefault();
    const wanted = {
      label: this.#label.value,
      expires_in_s: Number(this.#length.value),
      recordings: this.#recordings.checked,
    };
    this.#make.disabled = true;
    const make = async () => {
      const { url } = await this.#visit.api.post("/api/links", wanted);
      // As this browser reaches the server, whatever stands between.
      this.#address.value = new URL(new URL(url, location.href).pathname, location.href).href;
      this.#made.hidden = false;
      this.#copy.textContent = words.common.copy;
      this.#form.reset();
      this.#new.open = false;
      this.#copy.focus();
    };
    await this.#visit.attempt(() => accepted(this.#label, make));
    this.#make.disabled = false;
    await this.#load();
  }

  async #copyAddress() {
    this.#address.select();
    try {
      await navigator.clipboard.writeText(this.#address.value);
      this.#copy.textContent = say.copied;
    } catch {
      this.#visit.notice.show(say.notCopied);
    }
  }

  /** @param {string} id */
  #row(id) {
    const about = el("span", { class: "hint" });
    const label = this.#links.get(id)?.label ?? say.unnamed;
    const revoke = button(
      {
        class: "small quiet",
        testid: `revoke-${id}`,
        "aria-label": say.revokeWhich(label),
        on: { click: () => this.#revoke(id, label) },
      },
      say.revoke,
    );
    const what = el("span", { class: "what" }, el("span", {}, label), about);
    const render = () => {
      const link = this.#links.get(id);
      about.textContent = link ? describe(link) : "";
    };
    render();
    return { element: el("li", { class: "row between", testid: `link-${id}` }, what, revoke), render };
  }

  /**
   * @param {string} id
   * @param {string} label
   */
  async #revoke(id, label) {
    const question = say.revokeQuestion(label);
    const sure = await confirm({ question, consequence: say.revokeConsequence, yes: say.revoke });
    if (!sure) return;
    const path = `/api/links/${encodeURIComponent(id)}`;
    if (!(await this.#visit.attempt(() => this.#visit.api.delete(path)))) return;
    this.#visit.notice.show(say.revoked(label));
    this.#made.hidden = true;
    await this.#load();
  }
}

/** @param {string} time */
function isSoon(time) {
  return Date.parse(time) - Date.now() < DAY_MS;
}

/** @param {InviteLink} link */
function describe({ expires_at, recordings, guests }) {
  return [
    say.until(isSoon(expires_at) ? writeMoment(expires_at) : writeDay(expires_at)),
    recordings ? say.hasRecordings : null,
    guests ? say.guests(guests) : null,
  ]
    .filter(Boolean)
    .join(" · ");
}
