/**
 * @typedef {(
 *   context: CanvasRenderingContext2D, width: number, height: number,
 *   colour: (name: string) => string,
 * ) => void} Draw
 */

/**
 * Keep a canvas as sharp as the screen and draw it anew when its size or the colour scheme
 * changes. `draw(context, width, height, colour)` works in CSS pixels; `colour("--ink")` reads
 * a custom property. Gives a function that asks for a drawing. Ends with `signal`.
 *
 * Sizes and colours are kept: to ask for them would make the browser lay out the page each time.
 * @param {HTMLCanvasElement} canvas
 * @param {Draw} draw
 * @param {AbortSignal} signal
 */
export function keepDrawn(canvas, draw, signal) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {Map<string, string>} */
  const colours = new Map();
  const colour = (/** @type {string} */ name) => {
    const known = colours.get(name) ?? getComputedStyle(canvas).getPropertyValue(name).trim();
    colours.set(name, known);
    return known;
  };
  let [width, height] = [0, 0];
  let asked = false;

  const redraw = () => {
    asked = false;
    const scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (width && height) draw(context, width, height, colour);
  };
  const ask = () => {
    if (!asked && !signal.aborted) requestAnimationFrame(redraw);
    asked = true;
  };

  const observer = new ResizeObserver(() => {
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    ask();
  });
  observer.observe(canvas);
  signal.addEventListener("abort", () => observer.disconnect());
  for (const scheme of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
    const onChange = () => {
      colours.clear();
      ask();
    };
    window.matchMedia(scheme).addEventListener("change", onChange, { signal });
  }
  return ask;
}

/**
 * Add an upright bar with round ends around the middle line.
 * @param {Path2D} path
 * @param {number} x
 * @param {number} middle
 * @param {number} width
 * @param {number} half
 */
export function bar(path, x, middle, width, half) {
  path.roundRect(x, middle - half, width, half * 2, width / 2);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Path2D} path
 * @param {string} colour
 */
export function fill(context, path, colour) {
  context.fillStyle = colour;
  context.fill(path);
}
