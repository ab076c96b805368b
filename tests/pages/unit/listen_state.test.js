import assert from "node:assert/strict";
import { test } from "node:test";

import { view } from "../../../frontend/listen_state.js";
import { de } from "../../../frontend/words/de.js";
import { en } from "../../../frontend/words/en.js";

const { sentences } = en.listen;
const OFF = {
  name: "pub",
  stream: null,
  phase: "off",
  undecided: false,
  hearing: false,
  sound: "denoised",
  away: false,
  ended: false,
  problem: "",
};
const stream = (fields = {}) => ({ state: "live", muted: false, share_original: false, ...fields });
const LIVE = { ...OFF, stream: stream() };
const HEARING = { ...LIVE, phase: "connected", hearing: true };
const say = (facts) => view(facts, en.listen);
const sentence = (key) => sentences[key]("pub");

/** Assert what is said in each of these situations, one after the other. */
function assertHistory(history) {
  const said = history.map(([facts]) => [say(facts).badge, say(facts).sentence]);
  assert.deepEqual(said, history.map(([, badge, key]) => [badge, sentence(key)]));
}

test("from waiting for a friend to the end of the stream", () => {
  assertHistory([
    [OFF, "off", "off"],
    [{ ...OFF, stream: stream({ state: "connecting" }) }, "connecting", "soon"],
    [LIVE, "live", "live"],
    [{ ...LIVE, phase: "connecting" }, "live", "connecting"],
    [{ ...HEARING, hearing: false }, "live", "waiting"],
    [HEARING, "live", "hearing"],
    [{ ...HEARING, stream: null }, "off", "ended"],
    [{ ...HEARING, stream: null, phase: "reconnecting", undecided: true }, "off", "ended"],
    [{ ...OFF, ended: true }, "off", "ended"],
  ]);
});

test("a normal end is never called a lost connection, whichever news come first", () => {
  const gone = { ...HEARING, hearing: false, phase: "reconnecting", undecided: true };
  assertHistory([
    [gone, "live", "waiting"],
    [{ ...gone, stream: null }, "off", "ended"],
  ]);
});

test("nobody reads of themselves as of somebody else", () => {
  const ended = { ...OFF, ended: true };
  const states = [OFF, LIVE, ended, { ...LIVE, stream: stream({ muted: true }) }];
  for (const words of [en, de]) {
    for (const facts of states) {
      assert.ok(!view(facts, words.listen, { mine: true }).sentence.includes("pub"));
    }
  }
  assert.equal(view(HEARING, en.listen, { mine: true }).sentence, sentence("hearing"));
});

test("a loss may turn out to be an end, and nothing else may", () => {
  const lost = { ...HEARING, stream: stream({ state: "reconnecting" }) };
  const reconnecting = { ...HEARING, hearing: false, phase: "reconnecting" };
  const told = [HEARING, lost, reconnecting, { ...lost, stream: null }, { ...OFF, ended: true }];
  assert.deepEqual(
    told.map((facts) => say(facts).isLoss),
    [false, true, true, false, false],
  );
});

test("nobody is told that they hear somebody while nothing arrives", () => {
  const nothing = { ...HEARING, hearing: false };
  for (const state of ["live", "reconnecting"]) {
    const { sentence: said } = say({ ...nothing, stream: stream({ state }) });
    assert.ok(!said.startsWith("You hear"), said);
  }
  assertHistory([
    [nothing, "live", "waiting"],
    [{ ...nothing, stream: stream({ state: "reconnecting" }) }, "reconnecting", "lost"],
  ]);
});

test("a stream that is live again has not ended", () => {
  assertHistory([
    [{ ...OFF, ended: true }, "off", "ended"],
    [{ ...LIVE, ended: true }, "live", "live"],
    [{ ...LIVE, ended: true, phase: "connecting" }, "live", "connecting"],
  ]);
});

test("a lost connection is being restored, and a server that is away is named", () => {
  const lost = { ...HEARING, hearing: false, phase: "reconnecting" };
  assertHistory([
    [lost, "reconnecting", "reconnecting"],
    [{ ...lost, problem: "Busy. Try again in a moment." }, "reconnecting", "stillTrying"],
    [{ ...lost, away: true }, "reconnecting", "away"],
    [{ ...lost, away: true, stream: null }, "reconnecting", "away"],
    [{ ...LIVE, away: true }, "reconnecting", "away"],
    [{ ...HEARING, away: true }, "live", "hearing"],
  ]);
});

test("a removed or refused listener reads why, and is told it", () => {
  const removed = { ...LIVE, problem: "pub has removed you from this stream." };
  assert.equal(say(removed).sentence, removed.problem);
  assert.equal(say(removed).announcement, removed.problem);
});

test("a muted friend is muted, listened to or not", () => {
  const muted = stream({ muted: true });
  assertHistory([
    [{ ...LIVE, stream: muted }, "muted", "liveMuted"],
    [{ ...HEARING, stream: muted }, "muted", "hearingMuted"],
  ]);
});

test("whoever hears noise or gaps because the server is busy reads why", () => {
  const degraded = stream({ degraded: true });
  const undenoised = stream({ degraded: true, undenoised_on_overload: true });
  assertHistory([
    [{ ...HEARING, stream: degraded }, "live", "hearingGaps"],
    [{ ...HEARING, stream: undenoised }, "live", "hearingUndenoised"],
    [{ ...HEARING, stream: undenoised, sound: "original" }, "live", "hearingOriginal"],
    [{ ...LIVE, stream: degraded }, "live", "live"],
  ]);
});

test("the noise is named, and switching to it announces nothing", () => {
  const original = { ...HEARING, sound: "original" };
  assert.equal(say(original).sentence, sentence("hearingOriginal"));
  assert.equal(say(original).announcement, say(HEARING).announcement);
});

test("what lasts a moment is not announced", () => {
  for (const facts of [{ ...LIVE, phase: "connecting" }, { ...HEARING, hearing: false }]) {
    assert.equal(say(facts).announcement, "");
  }
});

test("Listen is there while something can be heard, and Stop while listening", () => {
  const buttons = (facts) => [say(facts).canListen, say(facts).isListening];
  assert.deepEqual(buttons(OFF), [false, false]);
  assert.deepEqual(buttons({ ...OFF, stream: stream({ state: "connecting" }) }), [false, false]);
  assert.deepEqual(buttons(LIVE), [true, false]);
  assert.deepEqual(buttons(HEARING), [false, true]);
});

test("every state has its words in German too", () => {
  for (const facts of [OFF, LIVE, HEARING, { ...OFF, ended: true }]) {
    const { word, sentence: said } = view(facts, de.listen);
    assert.ok(word && said && said !== say(facts).sentence);
  }
});
