import assert from "node:assert/strict";
import { test } from "node:test";
import { routeOf } from "../../../frontend/routes.js";

test("every address of the pages has its view", () => {
  assert.deepEqual(routeOf("/"), { view: "home" });
  assert.deepEqual(routeOf("/admin"), { view: "admin" });
  assert.deepEqual(routeOf("/u/pub"), { view: "profile", username: "pub" });
  assert.deepEqual(routeOf("/r/01kc3x"), { view: "recording", id: "01kc3x" });
  assert.deepEqual(routeOf("/l/aB-_9"), { view: "guest", token: "aB-_9" });
});

test("capitals, escapes and slashes make no other name", () => {
  for (const path of ["/u/Pub", "/u/PUB/", "/u/p%75b", "//u//pub"]) {
    assert.deepEqual(routeOf(path), { view: "profile", username: "pub" }, path);
  }
});

test("at any other address there is nothing", () => {
  for (const path of [
    "/nothing",
    "/u",
    "/u/",
    "/u/%E0%A4%A",
    "/u/ab",
    `/u/${"x".repeat(33)}`,
    "/u/a%2Fb",
    "/u/pub/more",
    "/r/",
    "/l/a%20b",
    "/admin/x",
  ]) {
    assert.deepEqual(routeOf(path), { view: "nothing" }, path);
  }
});
