import assert from "node:assert/strict";
import { test } from "node:test";

import { Silence, quality, stateOf, view } from "../../../frontend/stream_state.js";
import { de } from "../../../frontend/words/de.js";
import { en } from "../../../frontend/words/en.js";

const OFF = {
  phase: "off",
  undecided: false,
  starting: false,
  stream: null,
  wasLive: false,
  ended: null,
  problem: "",
  obstacle: null,
  muted: false,
  systemMuted: false,
  silent: false,
  serverAway: false,
  hadListeners: false,
};
const stream = (fields = {}) => ({ state: "live", listeners: 0, muted: false, ...fields });
const LIVE = { ...OFF, phase: "connected", wasLive: true, stream: stream() };
const say = (facts) => view(facts, en);
const { sentences } = en.stream;

test("a stream from Start to Stop goes through every state, each said once", () => {
  const history = [
    OFF,
    { ...OFF, starting: true },
    { ...OFF, phase: "connecting" },
    { ...OFF, phase: "connected" },
    { ...OFF, phase: "connected", stream: stream({ state: "connecting" }) },
    LIVE,
    { ...LIVE, phase: "reconnecting" },
    { ...LIVE, stream: stream({ state: "reconnecting" }) },
    LIVE,
    { ...OFF, ended: "stopped" },
  ];
  assert.deepEqual(
    history.map(stateOf),
    ["off", "connecting", "connecting", "connecting", "connecting"].concat(
      ["live", "reconnecting", "reconnecting", "live", "off"],
    ),
  );
  const said = history.map((facts) => say(facts).sentence);
  const told = said.filter((text, n) => text !== said[n - 1]);
  assert.deepEqual(told, [
    "Nobody hears you until you press Start.",
    "Opening your microphone.",
    "Connecting to the server.",
    "Your friends can hear you.",
    "The connection was lost. Trying to get it back.",
    "Your friends can hear you.",
    "Your stream has ended. Nobody hears you now.",
  ]);
});

test("a stream that begins again is reconnecting, not new", () => {
  assert.equal(stateOf({ ...LIVE, stream: null }), "reconnecting");
  assert.equal(stateOf({ ...LIVE, stream: stream({ state: "connecting" }) }), "reconnecting");
});

test("an end or a takeover is never called a lost connection, whichever news come first", () => {
  for (const phase of ["connected", "reconnecting"]) {
    const parting = { ...LIVE, phase, undecided: true };
    for (const known of [parting, { ...parting, stream: stream({ state: "reconnecting" }) }]) {
      assert.deepEqual([stateOf(known), say(known).sentence], ["live", sentences.live]);
    }
  }
});

test("whoever is away or silent is told so, the gravest first", () => {
  const lossy = { ...LIVE, stream: stream({ degraded: true }) };
  assert.equal(say(lossy).sentence, sentences.overloaded);
  const noisy = { ...LIVE, stream: stream({ degraded: true, share_original: true }) };
  assert.equal(say(noisy).sentence, sentences.undenoised);
  const mute = { ...LIVE, muted: true, silent: true };
  assert.equal(say({ ...LIVE, serverAway: true }).sentence, sentences.newsAway);
  assert.equal(say({ ...LIVE, phase: "reconnecting", serverAway: true }).sentence, sentences.lostServer);
  assert.equal(say({ ...LIVE, silent: true }).sentence, sentences.silent);
  assert.equal(say(mute).sentence, sentences.muted);
  assert.equal(say({ ...mute, systemMuted: true }).sentence, sentences.systemMuted);
});

test("while it tries again the page says why, and asks nobody to do so", () => {
  const connecting = { ...OFF, phase: "connecting" };
  const said = ["unreachable", "no path", "busy"].map((obstacle) => say({ ...connecting, obstacle }).sentence);
  assert.deepEqual(said, [sentences.unreachable, sentences.noPath, sentences.busy]);
  assert.equal(say({ ...connecting, serverAway: true }).sentence, sentences.unreachable);
  const back = { ...LIVE, phase: "reconnecting" };
  assert.equal(say({ ...back, obstacle: "busy" }).sentence, sentences.lost);
  assert.equal(say({ ...back, obstacle: "unreachable" }).sentence, sentences.lostServer);
});

test("after the end the page says how it ended, and asks", () => {
  for (const ended of ["ended", "absent", "late", "unheard"]) {
    assert.deepEqual(
      [say({ ...OFF, ended }).sentence, say({ ...OFF, ended }).tone],
      [sentences.ended[ended], "trouble"],
    );
  }
  assert.equal(say({ ...OFF, ended: "failed", problem: "No." }).sentence, "No.");
});

test("a stream from elsewhere is not mistaken for this page's", () => {
  const elsewhere = { ...OFF, stream: stream({ listeners: 2 }) };
  assert.equal(say(elsewhere).elsewhere, true);
  assert.equal(say(elsewhere).sentence, sentences.elsewhere);
  assert.equal(say({ ...elsewhere, starting: true }).elsewhere, false);
  assert.equal(say({ ...elsewhere, ended: "taken over" }).sentence, sentences.ended["taken over"]);
});

test("who listens: nobody yet, one, two, nobody any more", () => {
  const counts = [
    LIVE,
    { ...LIVE, stream: stream({ listeners: 1 }) },
    { ...LIVE, stream: stream({ listeners: 2 }) },
    { ...LIVE, hadListeners: true },
  ].map((facts) => say(facts).listeners);
  assert.deepEqual(counts, [
    "Nobody is listening yet",
    "1 listener",
    "2 listeners",
    "Nobody is listening right now",
  ]);
  assert.equal(say(OFF).listeners, "");
});

test("both languages say every sentence", () => {
  const leaves = (value) => (typeof value === "object" ? Object.values(value).flatMap(leaves) : [value]);
  for (const { stream: words } of [en, de]) {
    for (const text of leaves(words)) assert.ok(typeof text === "function" || typeof text === "string");
  }
  assert.notEqual(view(LIVE, de).sentence, view(LIVE, en).sentence);
});

test("a microphone is silent after seconds of digital silence, not after a pause", () => {
  const silence = new Silence();
  const heard = [
    [0, -100],
    [3_900, -100],
    [4_000, -100],
    [4_100, -60],
    [4_200, -100],
    [8_100, null],
    [8_200, -100],
    [12_200, -100],
  ].map(([now, dbfs]) => silence.hear(dbfs, now));
  assert.deepEqual(heard, [false, false, true, false, false, false, false, true]);
});

test("a connection is good until it can be heard", () => {
  assert.equal(quality({ roundTripMs: 40, loss: 0, gaps: 0 }), "good");
  assert.equal(quality({ roundTripMs: null, loss: 0.03, gaps: 0 }), "fair");
  assert.equal(quality({ roundTripMs: 40, loss: 0, gaps: 1 }), "fair");
  assert.equal(quality({ roundTripMs: 40, loss: 0.2, gaps: 9 }), "poor");
  assert.equal(quality({ roundTripMs: 900, loss: 0, gaps: 0 }), "poor");
});
