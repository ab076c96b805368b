const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Record<string, any> & {
 *   testid?: string, data?: Record<string, string>,
 *   on?: Record<string, (event: any) => unknown>,
 * }} Attributes
 * @typedef {Node | string | null | undefined} Child
 */

/**
 * Make an element. `testid` and `data` become data attributes, `on` listeners, `class` and
 * everything else attributes: true is written empty, false and null are left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, { testid, data = {}, on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (testid) element.dataset.testid = testid;
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  for (const child of children) if (child != null) element.append(child);
  return element;
}

/**
 * Make one of the icons of icons.svg, which the page carries; hidden from screen readers.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Make a link that changes the view without loading a page.
 * @param {string} path
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
export function link(path, attributes, ...children) {
  return el("a", { ...attributes, href: path, data: { ...attributes.data, route: "" } }, ...children);
}

/**
 * Make a button.
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
export function button(attributes, ...children) {
  return el("button", { type: "button", ...attributes }, ...children);
}

/**
 * Make a labelled switch; `input.checked` is its state.
 * @param {{ testid: string, label: string, hint?: string, on: Attributes["on"] }} about
 */
export function toggle({ testid, label, hint, on }) {
  const input = el("input", { type: "checkbox", role: "switch", testid, on });
  const words = el("span", { class: "words" }, el("span", { class: "label" }, label));
  if (hint) words.append(el("span", { class: "hint" }, hint));
  const element = el("label", { class: "setting toggle" }, words, input);
  return { element, input };
}

/**
 * Set a text unless it is the same, so that screen readers do not read it again.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
