import assert from "node:assert/strict";
import { test } from "node:test";

import { KeptSettings, settingsQuery } from "../../../frontend/kept_settings.js";

const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, value),
};
const DEFAULTS = {
  denoise: true,
  attenuation_limit_db: null,
  post_filter: false,
  model: "",
  share_original: false,
  undenoised_on_overload: false,
  deviceId: "",
};
const MODELS = ["dfn2", "dfn3"];

test("choices are kept for each person", () => {
  new KeptSettings("ada", MODELS).keep({ denoise: false, attenuation_limit_db: 12, post_filter: true });
  assert.deepEqual(new KeptSettings("ada", MODELS).choices, {
    ...DEFAULTS,
    denoise: false,
    attenuation_limit_db: 12,
    post_filter: true,
  });
  assert.deepEqual(new KeptSettings("bob", MODELS).choices, DEFAULTS);
});

test("a model is kept for as long as the server has it", () => {
  new KeptSettings("cleo", MODELS).keep({ model: "dfn3" });
  assert.equal(new KeptSettings("cleo", MODELS).choices.model, "dfn3");
  assert.equal(new KeptSettings("cleo", ["dfn2"]).choices.model, "");
});

test("what somebody else wrote is left out", () => {
  const written = ["{", "null", "3", '{"denoise": "no", "attenuation_limit_db": -1, "deviceId": 7, "post_filter": 1, "model": []}'];
  for (const text of written) {
    kept.set("hushcast.settings.eve", text);
    assert.deepEqual(new KeptSettings("eve", MODELS).choices, DEFAULTS, text);
  }
});

test("the address of an offer holds every setting", () => {
  const query = settingsQuery({ ...DEFAULTS, model: "dfn3", muted: true, title: "Tea & talk" });
  assert.equal(
    query,
    "denoise=true&attenuation_limit_db=null&post_filter=false&model=dfn3&share_original=false&undenoised_on_overload=false&muted=true&title=Tea+%26+talk",
  );
});
