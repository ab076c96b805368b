import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDuration, ServerClock } from "../../../frontend/clock.js";

const AT = Date.parse("2026-11-26T12:00:00Z");

test("durations have hours only when there are some", () => {
  assert.equal(formatDuration(-1), "0:00");
  assert.equal(formatDuration(59.9), "0:59");
  assert.equal(formatDuration(61), "1:01");
  assert.equal(formatDuration(3661), "1:01:01");
});

test("a device's clock counts as right while the server's answers allow it", (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: AT + 400 });
  const clock = new ServerClock();
  clock.learn("Thu, 26 Nov 2026 12:00:00 GMT", AT + 300, AT + 400);
  assert.equal(clock.now(), AT + 400);
});

test("a Date header that was written a second ago moves nothing", (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: AT + 1_900 });
  const clock = new ServerClock();
  clock.learn("Thu, 26 Nov 2026 12:00:00 GMT", AT + 1_800, AT + 1_900);
  assert.equal(clock.now(), AT + 1_900);
});

test("a device whose clock is an hour behind shows the server's time", (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: AT - 3_600_000 });
  const clock = new ServerClock();
  clock.learn("Thu, 26 Nov 2026 12:00:00 GMT", AT - 3_600_100, AT - 3_600_000);
  assert.ok(Math.abs(clock.now() - AT) <= 1_100);
  clock.learn("nonsense", 0, 0);
  assert.ok(Math.abs(clock.now() - AT) <= 1_100);
});
