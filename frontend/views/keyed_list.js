/**
 * @typedef {{ element: HTMLElement, close?: () => void }} Row
 */

/**
 * A list whose rows stay the same elements for as long as their keys are there, and are put in
 * order around the one that has focus, so that it keeps it.
 * @template {Row} R
 */
export class KeyedList {
  #list;
  #make;
  /** @type {Map<string, R>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} list
   * @param {(key: string) => R} make
   */
  constructor(list, make) {
    this.#list = list;
    this.#make = make;
  }

  get rows() {
    return [...this.#rows.values()];
  }

  /** @param {string} key */
  row(key) {
    return this.#rows.get(key);
  }

  /**
   * Show a row for each of these keys, in this order.
   * @param {string[]} keys
   */
  show(keys) {
    const wanted = new Set(keys);
    for (const key of this.#rows.keys()) if (!wanted.has(key)) this.#remove(key);
    for (const key of keys) if (!this.#rows.has(key)) this.#rows.set(key, this.#make(key));
    this.#arrange(keys);
  }

  close() {
    for (const key of [...this.#rows.keys()]) this.#remove(key);
  }

  /** @param {string} key */
  #remove(key) {
    const row = this.#rows.get(key);
    row?.close?.();
    row?.element.remove();
    this.#rows.delete(key);
  }

  /**
   * Put the rows in order around the focused one, which would lose focus if it moved.
   * @param {string[]} keys
   */
  #arrange(keys) {
    const elements = keys.flatMap((key) => this.#rows.get(key)?.element ?? []);
    const shown = this.#list.children;
    if (elements.length === shown.length && elements.every((each, i) => each === shown[i])) return;
    const kept = elements.find((each) => each.contains(document.activeElement));
    if (!kept) return this.#list.replaceChildren(...elements);
    const at = elements.indexOf(kept);
    kept.before(...elements.slice(0, at));
    kept.after(...elements.slice(at + 1));
  }
}
