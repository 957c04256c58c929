import assert from "node:assert/strict";
import test from "node:test";

import {
  ALL_EVENTS, keptEvents, readFilter, sortedEvents, writtenFilter,
} from "../../pages/components/web/events.js";
import { jobOf, wantedBlocks } from "../../pages/components/web/requests.js";
import { firstAt, neighbourError, rowsAt } from "../../pages/components/web/sources.js";
import { laneRuns, TimeAxis } from "../../pages/components/web/timeline.js";

test("rows of a frame by bisection", () => {
  const frames = [0, 0, 2, 2, 2, 9];
  assert.deepEqual(rowsAt(frames, 2), [2, 3, 4]);
  assert.deepEqual(rowsAt(frames, 1), []);
  assert.deepEqual(rowsAt(frames, 9), [5]);
  assert.deepEqual(rowsAt([], 0), []);
  assert.equal(firstAt(frames, 3), 5);
});

test("the next and the previous error", () => {
  const frames = [3, 3, 7, 7, 20];
  const go = (frame, direction) => frames[neighbourError(frames, frame, direction)];
  assert.equal(go(3, 1), 7);
  assert.equal(go(7, -1), 3);
  assert.equal(go(8, -1), 7);
  assert.equal(go(0, 1), 3);
  assert.equal(neighbourError(frames, 20, 1), -1);
  assert.equal(neighbourError(frames, 3, -1), -1);
  assert.equal(neighbourError([], 3, 1), -1);
});

test("frames of a class become runs, sources of one class together", () => {
  const frame = [0, 0, 1, 2, 4, 5, 5], category = [1, 2, 1, 1, 1, 1, 1];
  const runs = laneRuns(frame, category);
  assert.deepEqual(runs.get(1), [[0, 3], [4, 6]]);
  assert.deepEqual(runs.get(2), [[0, 1]]);
});

const EVENTS = {
  first: [0, 3, 3, 9, 20], last: [4, 3, 5, 9, 39], kind: [0, 1, 2, 1, 0], category: [1, 1, 2, 4, 4],
  taken_for: [-1, -1, 4, -1, -1], frames: [5, 1, 2, 1, 12], score: [NaN, 0.2, 0.9, 0.6, NaN],
  azimuth: [0, 0, 0, 0, 0], elevation: [0, 0, 0, 0, 0],
};

test("events are filtered by kind, class, length and score, and sorted", () => {
  const kept = (filter, floor = 0) => keptEvents(EVENTS, { ...ALL_EVENTS, ...filter }, floor);
  assert.deepEqual(kept({}), [0, 1, 2, 3, 4]);
  assert.deepEqual(kept({ kinds: "0" }), [0, 4]);
  assert.deepEqual(kept({ kinds: "" }), []);
  assert.deepEqual(kept({ category: 4 }), [2, 3, 4]); // what was taken for it too
  assert.deepEqual(kept({ least: 3 }), [0, 2, 4]);
  assert.deepEqual(kept({ score: "0.5..2" }), [0, 2, 3, 4]); // what was missed has no score
  assert.deepEqual(kept({ kinds: "12", score: "0..0.5" }), [1]);
  assert.deepEqual(kept({}, 0.5), [0, 2, 3, 4]); // what is not drawn is no false positive
  assert.deepEqual(sortedEvents(EVENTS, kept({}), "frames"), [4, 0, 2, 1, 3]);
  assert.deepEqual(sortedEvents(EVENTS, kept({}), "score"), [2, 3, 1, 0, 4]);
});

test("a filter goes into the address and comes back", () => {
  const filter = { kinds: "02", category: 4, least: 5, score: "0.3..2", order: "frames" };
  assert.deepEqual(readFilter(writtenFilter(filter)), filter);
  assert.equal(writtenFilter({ ...ALL_EVENTS }), "");
  const nonsense = ["", "9*1*1**time", "0*x*1**time", "0*1*1**<b>", "0*1*1*a*time"];
  for (const text of nonsense) assert.equal(readFilter(text), null);
});

test("the time axis keeps what is under the pointer, stays inside, and follows the cursor", () => {
  const axis = new TimeAxis(600);
  assert.deepEqual([axis.from, axis.to], [0, 600]);
  axis.zoom(300, 0.5);
  assert.deepEqual([axis.from, axis.to], [150, 450]);
  axis.move(1000);
  assert.deepEqual([axis.from, axis.to], [300, 600]);
  axis.follow(299);
  assert.ok(axis.from < 299 && axis.to > 299);
  const { from } = axis;
  axis.follow(axis.from + 20);
  assert.equal(axis.from, from);
  for (let k = 0; k < 20; k++) axis.zoom(100, 0.5);
  assert.equal(axis.to - axis.from, 20);
  for (let k = 0; k < 20; k++) axis.zoom(100, 2);
  assert.deepEqual([axis.from, axis.to], [0, 600]);
  const short = new TimeAxis(7);
  short.zoom(3, 0.1);
  assert.deepEqual([short.from, short.to], [0, 7]);
});

test("blocks are wanted from the cursor outwards, while playing only ahead", () => {
  assert.deepEqual(wantedBlocks(1, 3, { playing: false, loop: null }), [1, 2, 0, 3]);
  assert.deepEqual(wantedBlocks(5, 6, { playing: true, loop: 0 }), [5, 6, 0]);
  assert.deepEqual(wantedBlocks(0, 0, { playing: false, loop: 0 }), [0]);
  assert.equal(jobOf("matches.A"), "A");
  assert.equal(jobOf("ac.uplam.12"), "ac.uplam");
});
