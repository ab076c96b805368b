import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

globalThis.navigator ??= { languages: ["en"] }; // before Node.js 21 there is none
const { Presence } = await import("../../../frontend/presence.js");

/** What of a browser's WebSocket the page uses; the test is the server. */
class Socket extends EventTarget {
  static opened = [];
  closed = false;

  constructor() {
    super();
    Socket.opened.push(this);
  }

  close() {
    this.closed = true;
  }

  tell(message) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
  }
}

const SNAPSHOT = { type: "snapshot", version: 1, streams: [], heartbeat_s: 5 };
const settled = () => new Promise((resolve) => setImmediate(resolve));

let asked;
const begin = (context) => {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  context.mock.method(Math, "random", () => 0.5);
  const get = async (path) => {
    asked.push(path);
    return [];
  };
  const presence = new Presence({ get });
  presence.start();
  return { presence, timers: context.mock.timers };
};

beforeEach(() => {
  asked = [];
  Socket.opened = [];
  Object.assign(globalThis, {
    WebSocket: Socket,
    window: new EventTarget(),
    location: new URL("https://hushcast.test/"),
  });
});

test("a socket whose heartbeats stay away is replaced, not before two are missing", async (context) => {
  const { presence, timers } = begin(context);
  Socket.opened[0].tell(SNAPSHOT);
  for (let n = 0; n < 3; n += 1) {
    timers.tick(9_900);
    Socket.opened[0].tell({ type: "heartbeat" });
  }
  assert.ok(presence.isOnline);
  timers.tick(10_000);
  await settled();
  assert.ok(Socket.opened[0].closed);
  assert.equal(presence.isOnline, false);
  timers.tick(500);
  await settled();
  assert.equal(Socket.opened.length, 2);
  presence.stop();
});

test("a server without heartbeats is not watched", async (context) => {
  const { presence, timers } = begin(context);
  const { heartbeat_s: _, ...old } = SNAPSHOT;
  Socket.opened[0].tell(old);
  timers.tick(600_000);
  await settled();
  assert.ok(presence.isOnline);
  presence.stop();
});

test("pages whose server went away come back spread over a second, and ask nothing before", async (context) => {
  const { presence, timers } = begin(context);
  Socket.opened[0].tell(SNAPSHOT);
  Socket.opened[0].dispatchEvent(new Event("close"));
  await settled();
  timers.tick(499);
  await settled();
  assert.deepEqual([Socket.opened.length, asked], [1, []]);
  timers.tick(1);
  await settled();
  assert.deepEqual([Socket.opened.length, asked], [2, []]);
  Socket.opened[1].dispatchEvent(new Event("close")); // there is no other server yet
  await settled();
  assert.deepEqual(asked, ["/api/streams"]);
  presence.stop();
});
