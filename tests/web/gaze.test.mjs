import assert from "node:assert/strict";
import test from "node:test";

import {
  ahead, dragged, edgeOf, inView, onSphere, Perspective, pointAlong, readGaze, settledGaze, vectorAt, writtenGaze,
} from "../../pages/components/web/gaze.js";
import { pointOf, shortest } from "../../pages/components/web/geometry.js";
import { SIZE } from "./helpers.mjs";

/** The same numbers at every run. */
function* numbers(seed, count) {
  let state = seed;
  const next = () => (state = (state * 1664525 + 1013904223) % 4294967296) / 4294967296;
  for (let k = 0; k < count; k++) yield next;
}
const someGaze = (next) => ({ yaw: next() * 360 - 180, pitch: next() * 180 - 90, fov: 30 + next() * 90 });
const someView = (next) => [200 + Math.floor(next() * 900), 150 + Math.floor(next() * 600)];
const along = (azimuth, elevation) => {
  const { x, y } = pointOf(azimuth, elevation, SIZE);
  return vectorAt(x, y, SIZE);
};
const apart = (a, b) => Math.hypot(...[0, 1, 2].map((i) => a[i] - b[i]));

test("what is straight ahead is in the middle, azimuth grows to the left, elevation upwards", () => {
  for (const yaw of [-180, -90, 0, 33, 179.9]) {
    for (const pitch of [-60, 0, 45]) {
      const view = new Perspective({ yaw, pitch, fov: 90 }, 400, 200);
      const middle = view.project(along(yaw, pitch));
      assert.ok(Math.hypot(middle.x - 200, middle.y - 100) < 1e-6);
      assert.ok(view.project(along(yaw + 5, pitch)).x < 200);
      assert.ok(view.project(along(yaw, pitch + 5)).y < 100);
    }
  }
  const right = new Perspective({ yaw: 0, pitch: 0, fov: 90 }, 400, 200).project(along(-45, 0));
  assert.ok(Math.abs(right.x - 400) < 1e-6); // half the field of view is the edge
  const narrow = new Perspective({ yaw: 0, pitch: 0, fov: 90 }, 200, 400).project(along(0, 45));
  assert.ok(Math.abs(narrow.y) < 1e-6); // across the longer side
});

test("pixels and directions go both ways, at the poles and the seam too", () => {
  for (const next of numbers(1, 400)) {
    const [w, h] = someView(next), view = new Perspective(someGaze(next), w, h);
    const px = next() * w, py = next() * h, v = view.along(px, py), at = view.project(v);
    assert.ok(Math.hypot(at.x - px, at.y - py) < 1e-6);
    assert.ok(view.sees(v) && Math.abs(Math.hypot(...v) - 1) < 1e-12);
    const point = pointAlong(v, SIZE);
    assert.ok(point.x >= 0 && point.x < SIZE.width && point.y >= 0 && point.y <= SIZE.height);
    assert.ok(apart(vectorAt(point.x, point.y, SIZE), v) < 1e-9);
    assert.ok(!view.sees(v.map((c) => -c)));
  }
});

test("what was taken hold of stays under the pointer, and up and down end at the poles", () => {
  let held = 0;
  for (const next of numbers(2, 3000)) {
    const gaze = someGaze(next), [w, h] = someView(next);
    const from = [next() * w, next() * h], v = new Perspective(gaze, w, h).along(...from);
    const to = from.map((p, i) => p + (next() - 0.5) * [w, h][i] * 0.5), turned = dragged(gaze, w, h, v, ...to);
    assert.ok(Math.abs(turned.pitch) <= 90 && turned.yaw >= -180 && turned.yaw < 180 && turned.fov === gaze.fov);
    const view = new Perspective(turned, w, h), at = view.along(...to);
    if (apart(at, v) < 1e-6) held++;
    else {
      // only where the pole is the limit, or the meridian is closest to the pixel's own; then its azimuth stays
      const limit = Math.abs(Math.abs(turned.pitch) - 90) < 1e-6;
      const level = new Perspective({ ...turned, pitch: 0 }, w, h), ray = level.along(...to);
      const most = Math.hypot(level.depth(ray), ray[2]); // sine of the highest elevation this pixel ever shows
      assert.ok(limit || Math.abs(v[2]) >= most - 1e-9, `${JSON.stringify(gaze)} ${to}`);
      const turn = shortest(pointAlong(at, SIZE).x - pointAlong(v, SIZE).x, SIZE.width);
      assert.ok(Math.abs(turn) < 1e-4);
    }
  }
  assert.ok(held > 2000, `${held}`);
});

test("a drag in small steps holds the same point as one at once", () => {
  const w = 500, h = 300, from = [260, 120];
  for (const start of [{ yaw: 170, pitch: 10, fov: 100 }, { yaw: -20, pitch: -40, fov: 60 }]) {
    const v = new Perspective(start, w, h).along(...from);
    let gaze = start;
    for (let k = 1; k <= 40; k++) gaze = dragged(gaze, w, h, v, from[0] + 3 * k, from[1] + k);
    const once = dragged(start, w, h, v, from[0] + 120, from[1] + 40);
    assert.ok(Math.abs(gaze.yaw - once.yaw) < 1e-6 && Math.abs(gaze.pitch - once.pitch) < 1e-6);
  }
});

const box = (x0, y0, x1, y1) => Float32Array.from([x0, y0, x1, y0, x1, y1, x0, y1]);

test("an outline over the seam is one closed line", () => {
  const lines = onSphere(box(350.5, 80.5, 372.5, 99.5), SIZE);
  assert.equal(lines.length, 1);
  const parts = inView(lines[0], new Perspective({ yaw: 179, pitch: 0, fov: 90 }, 600, 400));
  assert.equal(parts.length, 1);
  assert.ok(parts[0].closed);
  const { xy } = parts[0], steps = [];
  for (let i = 0; i < xy.length; i += 2) {
    const j = (i + 2) % xy.length;
    steps.push(Math.hypot(xy[i] - xy[j], xy[i + 1] - xy[j + 1]));
  }
  assert.ok(Math.max(...steps) < 20, "no line across the view"); // two degrees are some 10 px
});

test("an outline around a pole is a ring: no side at the seam, no row at the pole", () => {
  const cap = onSphere(box(0.5, 0.5, 359.5, 20.5), SIZE);
  assert.equal(cap.length, 1);
  assert.ok(cap[0].closed);
  for (let i = 2; i < cap[0].xyz.length; i += 3) {
    assert.ok(Math.abs(cap[0].xyz[i] - Math.sin((69.5 * Math.PI) / 180)) < 1e-6);
  }
  const band = onSphere(box(0.5, 60.5, 359.5, 90.5), SIZE);
  assert.deepEqual(band.map((line) => line.closed), [true, true]);
  const [up] = inView(cap[0], new Perspective({ yaw: 30, pitch: 90, fov: 90 }, 400, 400));
  assert.ok(up.closed);
  const radius = 200 * Math.tan((20.5 * Math.PI) / 180); // 90 degrees across 400 px: 200 px to the eye
  for (let i = 0; i < up.xy.length; i += 2) {
    assert.ok(Math.abs(Math.hypot(up.xy[i] - 200, up.xy[i + 1] - 200) - radius) < 0.5);
  }
});

test("a line that goes on behind the eye ends before it", () => {
  const parts = inView(onSphere(box(0.5, 60.5, 359.5, 90.5), SIZE)[0], new Perspective(ahead(), 600, 300));
  assert.equal(parts.length, 1);
  assert.ok(!parts[0].closed);
  for (const next of numbers(3, 300)) {
    const x = next() * 360, y = next() * 140, [w, h] = someView(next), view = new Perspective(someGaze(next), w, h);
    for (const line of onSphere(box(x, y, x + 1 + next() * 200, y + 1 + next() * 39), SIZE)) {
      for (const { xy, closed } of inView(line, view)) {
        assert.ok(xy.every(Number.isFinite) && xy.length >= 4);
        assert.ok(xy.every((c) => Math.abs(c) < 21 * view.focal + 1000)); // nothing is thrown across the screen
        if (closed) assert.equal(xy.length, (line.xyz.length / 3) * 2);
      }
    }
  }
});

test("the edge of a view on the canvas is a closed line, or goes around a pole", () => {
  for (const next of numbers(4, 300)) {
    const [w, h] = someView(next), gaze = someGaze(next), view = new Perspective(gaze, w, h);
    const { line, closed } = edgeOf(view, SIZE);
    const poles = [[0, 0, 1], [0, 0, -1]].filter((v) => view.sees(v));
    const near = [[0, 0, 1], [0, 0, -1]].some((v) => {
      if (view.depth(v) <= 0) return false;
      const { x, y } = view.project(v);
      return Math.min(Math.abs(x), Math.abs(x - w), Math.abs(y), Math.abs(y - h)) < 3;
    });
    if (!near) assert.equal(closed, !poles.length, JSON.stringify({ gaze, w, h }));
    for (let i = 0; i < line.length; i += 2) {
      const at = view.project(vectorAt(line[i], line[i + 1], SIZE));
      const off = Math.min(Math.abs(at.x), Math.abs(at.x - w), Math.abs(at.y), Math.abs(at.y - h));
      assert.ok(off < 0.05, `${off}`);
      if (i && !near) assert.ok(Math.abs(line[i] - line[i - 2]) < 60);
    }
  }
});

test("a gaze comes back from its words, whatever they are", () => {
  const written = writtenGaze({ yaw: -120.54, pitch: 30, fov: 75.06 });
  assert.deepEqual(readGaze(written), { yaw: -120.5, pitch: 30, fov: 75.1 });
  assert.equal(writtenGaze({ yaw: -0.01, pitch: 0, fov: 90 }), "0*0*90");
  for (const words of ["", "1*2", "a*0*90", "1e999*0*90", "**", "1* *3"]) assert.equal(readGaze(words), null, words);
  assert.deepEqual(readGaze("540*100*5"), { yaw: -180, pitch: 90, fov: 30 });
  assert.deepEqual(settledGaze({ yaw: -181, pitch: -91, fov: 500 }), { yaw: 179, pitch: -90, fov: 120 });
});
