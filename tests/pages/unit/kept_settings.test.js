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
  share_original: false,
  undenoised_on_overload: false,
  deviceId: "",
};

test("choices are kept for each person", () => {
  new KeptSettings("ada").keep({ denoise: false, attenuation_limit_db: 12 });
  assert.deepEqual(new KeptSettings("ada").choices, {
    ...DEFAULTS,
    denoise: false,
    attenuation_limit_db: 12,
  });
  assert.deepEqual(new KeptSettings("bob").choices, DEFAULTS);
});

test("what somebody else wrote is left out", () => {
  const written = ["{", "null", "3", '{"denoise": "no", "attenuation_limit_db": -1, "deviceId": 7}'];
  for (const text of written) {
    kept.set("hushcast.settings.eve", text);
    assert.deepEqual(new KeptSettings("eve").choices, DEFAULTS, text);
  }
});

test("the address of an offer holds every setting", () => {
  const query = settingsQuery({ ...DEFAULTS, muted: true, title: "Tea & talk" });
  assert.equal(
    query,
    "denoise=true&attenuation_limit_db=null&share_original=false&undenoised_on_overload=false&muted=true&title=Tea+%26+talk",
  );
});
