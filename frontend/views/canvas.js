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
 * @param {HTMLCanvasElement} canvas
 * @param {Draw} draw
 * @param {AbortSignal} signal
 */
export function keepDrawn(canvas, draw, signal) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const colour = (/** @type {string} */ name) =>
    getComputedStyle(canvas).getPropertyValue(name).trim();
  let asked = false;

  const redraw = () => {
    asked = false;
    const { clientWidth: width, clientHeight: height } = canvas;
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

  const observer = new ResizeObserver(ask);
  observer.observe(canvas);
  signal.addEventListener("abort", () => observer.disconnect());
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", ask, { signal });
  return ask;
}

/**
 * Draw an upright bar with round ends around the middle line.
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} middle
 * @param {number} width
 * @param {number} half
 */
export function bar(context, x, middle, width, half) {
  context.beginPath();
  context.roundRect(x, middle - half, width, half * 2, width / 2);
  context.fill();
}
