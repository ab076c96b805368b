import assert from "node:assert/strict";
import { test } from "node:test";
import { actionOf, sentenceOf } from "../../../frontend/guest_state.js";
import { en } from "../../../frontend/words/en.js";

/** @returns {any} */
function facts(changes = {}) {
  return { name: "ada", stream: null, phase: "off", away: false, ended: false, problem: "", ...changes };
}

const stream = (state = "live") => ({ state });

test("one button: wait, then listen, then stop", () => {
  assert.equal(actionOf(facts(), false), "wait");
  assert.equal(actionOf(facts({ stream: stream("connecting") }), false), "wait");
  assert.equal(actionOf(facts(), true), "stopWaiting");
  for (const waits of [false, true]) {
    assert.equal(actionOf(facts({ stream: stream() }), waits), "listen");
    assert.equal(actionOf(facts({ stream: stream("reconnecting") }), waits), "listen");
    assert.equal(actionOf(facts({ stream: stream(), phase: "connected" }), waits), "stop");
    assert.equal(actionOf(facts({ phase: "connecting" }), waits), "stop");
  }
});

test("it says what the button will do while nobody is live, and nothing of its own otherwise", () => {
  const say = (/** @type {any} */ about, /** @type {boolean} */ waits) =>
    sentenceOf(about, waits, en.links);
  assert.match(say(facts(), false) ?? "", /not live.*button/);
  assert.match(say(facts(), true) ?? "", /will hear ada/);
  assert.match(say(facts({ ended: true }), true) ?? "", /will hear ada/);
  for (const about of [
    facts({ ended: true }),
    facts({ problem: "ada removed you from this stream." }),
    facts({ away: true }),
    facts({ stream: stream() }),
    facts({ phase: "connecting" }),
  ]) {
    assert.equal(say(about, false), null);
  }
});
