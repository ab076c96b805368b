import { ApiError } from "../api.js";
import { el } from "../dom.js";

/** @import { Attributes } from "../dom.js" */

/** What the server answers to what somebody typed. */
const REFUSALS = [400, 403, 404, 409, 422, 429];

let made = 0;

/** A labelled input; its rule and what is wrong with it stand below, and belong to it. */
export class Field {
  #rule;
  #error;

  /**
   * `terse`: the label is in the placeholder, and read out.
   * @param {Attributes & { label: string, rule?: string, terse?: boolean }} about
   */
  constructor({ label, rule = "", terse = false, ...attributes }) {
    const id = attributes.id ?? `field-${++made}`;
    this.#rule = el("span", { id: `${id}-rule`, class: "hint rule", hidden: !rule }, rule);
    this.#error = el("span", { id: `${id}-error`, class: "error", role: "alert" });
    this.input = el("input", { ...(terse ? { placeholder: label } : {}), ...attributes, id });
    this.element = el(
      "div",
      { class: "field" },
      el("label", { for: id, class: terse ? "unseen" : "" }, label),
      this.input,
      this.#rule,
      this.#error,
    );
    this.input.addEventListener("input", () => this.accept());
    this.#describe();
  }

  /** What was typed, without spaces around it; a password as it is. */
  get value() {
    const { value, type } = this.input;
    return type === "password" ? value : value.trim();
  }

  /** @param {string} value */
  set value(value) {
    this.input.value = value;
  }

  /** @param {boolean} shown */
  set ruleShown(shown) {
    this.#rule.hidden = !shown;
    this.#describe();
  }

  /**
   * Say what is wrong, and lead there.
   * @param {string} sentence
   */
  refuse(sentence) {
    this.#error.textContent = sentence;
    this.input.setAttribute("aria-invalid", "true");
    this.#describe();
    this.input.focus();
  }

  /** Nothing is wrong, as far as known. */
  accept() {
    this.#error.textContent = "";
    this.input.removeAttribute("aria-invalid");
    this.#describe();
  }

  /** Only what is shown is read out with the field. */
  #describe() {
    const shown = [this.#error.textContent ? this.#error : null, this.#rule.hidden ? null : this.#rule];
    this.input.setAttribute("aria-describedby", shown.map((part) => part?.id ?? "").join(" ").trim());
  }
}

/**
 * Do what a form asks for, and say at its field what the server has against it. Resolves to
 * whether it succeeded; raises ApiError for what has nothing to do with the field.
 * @param {Field} field
 * @param {() => unknown} action
 */
export async function accepted(field, action) {
  field.accept();
  try {
    await action();
    return true;
  } catch (error) {
    const isRefusal = error instanceof ApiError && REFUSALS.includes(error.status);
    if (!isRefusal) throw error;
    field.refuse(error.message);
    return false;
  }
}

/**
 * Refuse the first field with a sentence that says what is wrong; true if there is none.
 * @param {[Field, string | false | null | undefined][]} checks
 */
export function right(checks) {
  for (const [field] of checks) field.accept();
  const wrong = checks.find(([, sentence]) => sentence);
  if (wrong) wrong[0].refuse(String(wrong[1]));
  return !wrong;
}
