// Shows notifications and leads to what they are about. It keeps nothing and comes between nothing.

const worker = /** @type {any} */ (self);

worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(lead(event.notification.data.path));
});

/**
 * Turn to a page that is open, without loading it again: it may be on air. Else open one.
 * @param {string} path
 */
async function lead(path) {
  const [page] = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (!page) return worker.clients.openWindow(path);
  await page.focus();
  page.postMessage({ path });
}
