import assert from "node:assert/strict";
import test from "node:test";

import { clipOf, cut, heardWords, Listening } from "../../pages/components/web/desk_listening.js";
import { sceneBetween } from "../../pages/components/web/desk_ears.js";

const clip = (more = {}) => ({
  state: "ready", text: "", name: "n", start: 20, stop: 40, scale: 0.5,
  samples: Int16Array.from({ length: 40 }, (_, k) => k), ...more,
});

test("the sound of a source is cut where it is there, and only there", () => {
  assert.deepEqual([...cut(clip(), 21, 23, 2)], [2, 3, 4, 5]);
  assert.equal(cut(clip(), 20, 40, 2).length, 40);
  for (const [from, to] of [[19, 30], [30, 41], [0, 10]]) assert.equal(cut(clip(), from, to, 2), null);
  assert.equal(cut(clip({ state: "making" }), 21, 23, 2), null);
  assert.equal(cut(undefined, 21, 23, 2), null);
});

test("what is heard is said: why it is not the source, and what was done to it", () => {
  assert.equal(heardWords(false, clip()), "");
  assert.match(heardWords(true, undefined), /^Making the source's sound/);
  assert.match(heardWords(true, clip({ state: "making" })), /all is heard until then/);
  const mono = heardWords(true, clip({ state: "none", text: "x is mono." }));
  assert.equal(mono, "The source alone cannot be heard: x is mono.");
  assert.equal(heardWords(true, clip({ text: "raised by 6 dB" })), "The source alone, raised by 6 dB");
});

test("an answer without a sound keeps the one that is here, and no other", () => {
  const held = { state: "held", name: "n", text: "" };
  assert.equal(clipOf(clip(), held).state, "ready");
  assert.equal(clipOf(clip({ name: "old" }), held).state, "making");
  const heard = { order: [1, 0], scores: [0.2, 0.7], nothing: 0.1, by: "a network" };
  assert.deepEqual(clipOf(clip(), { ...held, heard }).heard, heard); // it comes after the sound
  assert.equal(clipOf(clip({ state: "making" }), { ...held, heard }).heard, null); // of nothing that is here
  assert.equal(clipOf(clip({ state: "making" }), held).state, "making");
  assert.equal(clipOf(clip(), { state: "none", name: "", text: "no sound" }).state, "none");
});

test("a listener that is still at it is asked again, and its scores order the classes of the item shown", () => {
  const before = { storage: globalThis.sessionStorage, wait: globalThis.setTimeout }, waits = [], shown = [];
  globalThis.sessionStorage = { getItem: () => "1", setItem: () => {} };
  globalThis.setTimeout = (work) => waits.push(work);
  try {
    const desk = { ...deskOf(), sheet: { heard: (evidence) => shown.push(evidence) } }, listening = new Listening(desk);
    listening.clips.set("a", clip());
    listening.take({ item: "a", state: "held", name: "n", text: "", heard: null, listening: true });
    assert.equal(waits.length, 1);
    assert.equal(shown.at(-1), null);
    const heard = { order: [1, 0], scores: [0.2, 0.7], nothing: 0.1, by: "a network" };
    listening.take({ item: "a", state: "held", name: "n", text: "", heard, listening: false });
    assert.equal(waits.length, 1);
    assert.deepEqual(shown.at(-1), heard);
    listening.alone = false;
    listening.show();
    assert.equal(shown.at(-1), null); // all is heard: the list is as it was
  } finally {
    globalThis.sessionStorage = before.storage;
    globalThis.setTimeout = before.wait;
  }
});

/** A desk as far as listening sees it. */
function deskOf() {
  const button = { textContent: "", title: "", pressed: "", setAttribute: (_, value) => (button.pressed = value) };
  const ref = { alone: button, ears: { setAttribute: () => {} }, heard: { textContent: "" }, play: {} };
  const desk = { current: "a", ref, rests: 0, flushes: 0 };
  return { ...desk, rest: () => (desk.rests += 1), flush: () => (desk.flushes += 1), counts: desk };
}

test("one key goes over and back, and the choice holds for the items that follow", () => {
  const kept = new Map(), before = globalThis.sessionStorage;
  globalThis.sessionStorage = { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v) };
  try {
    const desk = deskOf(), listening = new Listening(desk);
    assert.equal(listening.alone, false); // all, as ever
    listening.choose();
    assert.ok(listening.alone && listening.asks);
    assert.equal(desk.counts.rests, 1);
    assert.equal(desk.ref.alone.pressed, "true");
    listening.take({ item: "b", state: "none", name: "", text: "far away" });
    assert.match(desk.ref.heard.textContent, /^Making/); // that was about another item
    desk.current = "b";
    listening.show();
    assert.equal(desk.ref.heard.textContent, "The source alone cannot be heard: far away");
    assert.equal(listening.held, "");
    assert.ok(new Listening(deskOf()).alone); // the page was left and has been come back to
    listening.choose();
    assert.ok(!listening.alone && !listening.asks);
    assert.equal(desk.ref.heard.textContent, "");
    assert.equal(new Listening(deskOf()).alone, false);
  } finally {
    globalThis.sessionStorage = before;
  }
});

test("harmonics of an item are put together from its windows, at their own scales", () => {
  const piece = (start, scale, first) => ({
    start, stop: start + 2, scale, channels: 2, covariance: new Float32Array(0),
    samples: Int16Array.from({ length: 8 }, (_, i) => first + i),
  });
  const windows = [piece(0, 32767, 0), piece(2, 2 * 32767, 100)];
  const at = (frame) => windows.find((w) => frame >= w.start && frame < w.stop);
  // from frame 1 to 3 with two samples a frame: the second half of the first window, the first of the second
  assert.deepEqual(sceneBetween(1, 3, 2, at).map((channel) => [...channel]), [[2, 3, 200, 202], [6, 7, 208, 210]]);
  assert.equal(sceneBetween(1, 5, 2, at), null); // what is missing is not silence
});

test("two ears are named beside what is heard", () => {
  assert.equal(heardWords(false, undefined, "two ears"), "Two ears");
  assert.equal(heardWords(true, { state: "ready", text: "" }, "two ears"), "The source alone; two ears");
});
