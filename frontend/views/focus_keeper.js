const CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex]";

/** @typedef {{ element: HTMLElement, place: { parent: Element, index: number }[] }} Focused */

/**
 * Keeps the keyboard's place: when what has the focus is removed, hidden or disabled, the focus goes
 * to its successor (the same `data-testid`), else to what is nearest in the same part of the page.
 */
export class FocusKeeper {
  #root;
  /** @type {Focused | null} */
  #last = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    root.addEventListener("focusin", ({ target }) => this.#note(target));
    // The browser, too, moves the focus, back from a dialog for example: look when it has.
    const look = () => setTimeout(() => this.#look(), 0);
    root.addEventListener("focusout", look);
    window.addEventListener("focus", look);
    new MutationObserver(look).observe(root, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ["hidden", "disabled", "open"],
    });
  }

  /** @param {EventTarget | null} target */
  #note(target) {
    if (!(target instanceof HTMLElement)) return;
    const place = [];
    for (let at = /** @type {Element} */ (target); at !== this.#root && at.parentElement; at = at.parentElement) {
      place.push({ parent: at.parentElement, index: [...at.parentElement.children].indexOf(at) });
    }
    this.#last = { element: target, place };
  }

  #look() {
    if (!this.#last || !document.hasFocus()) return;
    const { activeElement } = document;
    if (activeElement && activeElement !== document.body && usable(activeElement)) return;
    const last = this.#last;
    this.#last = null;
    if (usable(last.element)) return; // the person left it
    this.#successor(last)?.focus();
  }

  /** @param {Focused} last */
  #successor({ element, place }) {
    const { testid } = element.dataset;
    const same = testid && this.#root.querySelectorAll(`[data-testid="${CSS.escape(testid)}"]`);
    for (const each of same || []) if (usable(each)) return /** @type {HTMLElement} */ (each);
    for (const { parent, index } of place) {
      if (!visible(parent)) continue;
      const found = nearest(parent, index);
      if (found) return found;
    }
    return null;
  }
}

/**
 * Find what can take the focus in what follows a place, else in what stands before it.
 * @param {Element} parent
 * @param {number} index
 * @returns {HTMLElement | null}
 */
function nearest(parent, index) {
  const children = [...parent.children];
  for (const child of [...children.slice(index), ...children.slice(0, index).reverse()]) {
    for (const control of [child, ...child.querySelectorAll(CONTROLS)]) {
      if (control.matches(CONTROLS) && usable(control)) return /** @type {HTMLElement} */ (control);
    }
  }
  return null;
}

/** @param {Element} element */
function usable(element) {
  return visible(element) && !element.matches(":disabled");
}

/** @param {Element} element */
function visible(element) {
  return element.isConnected && element.checkVisibility({ visibilityProperty: true });
}
