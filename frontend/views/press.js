const SAME_PRESS_MS = 300;

/**
 * Call `action` once a press: a double click, a bouncing finger or a key held down count as one.
 * @param {HTMLElement} element
 * @param {() => void} action
 */
export function onPress(element, action) {
  let lastAt = Number.NEGATIVE_INFINITY;
  element.addEventListener("click", ({ timeStamp, detail: clicks }) => {
    const same = clicks > 1 || timeStamp - lastAt < SAME_PRESS_MS;
    lastAt = timeStamp;
    if (!same) action();
  });
}
