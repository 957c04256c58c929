// A region drawn from inside the sphere is that region on the canvas, and the other way round.

import assert from "node:assert/strict";
import test from "node:test";

import { discAt, discsOf, edgeLine, enclosed, heldInside, unwrapped } from "../../pages/components/web/desk_shapes.js";
import { onSphere, Perspective, pointAlong, vectorAt } from "../../pages/components/web/gaze.js";
import { wrap } from "../../pages/components/web/geometry.js";
import { SIZE } from "./helpers.mjs";

const { width, height } = SIZE;

/** Pixels inside a closed line of the canvas, as the server finds them: columns go the short way, even-odd. */
function filled(points) {
  const line = unwrapped(points, SIZE), n = points.length, inside = new Set();
  for (let row = 0; row < height; row++) {
    const cuts = [], y = row + 0.5;
    for (let i = 0, j = n - 1; i < n; j = i++) {
      const [xi, yi, xj, yj] = [line[2 * i], line[2 * i + 1], line[2 * j], line[2 * j + 1]];
      if (yi > y !== yj > y) cuts.push(((xj - xi) * (y - yi)) / (yj - yi) + xi);
    }
    cuts.sort((a, b) => a - b);
    for (let k = 0; k + 1 < cuts.length; k += 2) {
      for (let c = Math.ceil(cuts[k] - 0.5); c + 0.5 < cuts[k + 1]; c++) inside.add(row * width + wrap(c, width));
    }
  }
  return inside;
}

/** A round lasso on the screen, as canvas points. */
function ring(view, radius, n = 240) {
  return Array.from({ length: n }, (_, k) => {
    const a = (2 * Math.PI * k) / n;
    const at = pointAlong(view.along(300 + radius * Math.cos(a), 200 + radius * Math.sin(a)), SIZE);
    return [at.x, at.y];
  });
}

test("a lasso on the screen holds the pixels that lie inside of it there, at the seam and around the poles", () => {
  for (const [yaw, pitch] of [[0, 0], [-180, 10], [179, -30], [40, 88], [-120, -85], [10, 90], [0, 60]]) {
    const view = new Perspective({ yaw, pitch, fov: 80 }, 600, 400), radius = 130;
    const points = enclosed(ring(view, radius), pitch > 0 ? 0 : height, SIZE), held = filled(points);
    assert.ok(points.every(([x, y]) => x >= 0 && x <= width && y >= 0 && y <= height));
    let wrong = 0;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const v = vectorAt(column + 0.5, row + 0.5, SIZE);
        const p = view.depth(v) > 0.05 ? view.project(v) : { x: 1e9, y: 0 };
        const within = Math.hypot(p.x - 300, p.y - 200);
        if (Math.abs(within - radius) < 1) continue; // on the line itself
        if (held.has(row * width + column) !== within < radius) wrong++;
      }
    }
    assert.ok(wrong <= 3, `${yaw} ${pitch}: ${wrong} of ${held.size}`);
  }
});

test("a lasso that goes around no pole is sent as it was drawn", () => {
  const points = [[350, 80], [5, 80], [5, 100], [350, 100]];
  assert.equal(enclosed(points, 0, SIZE), points);
  assert.deepEqual([...unwrapped(points, SIZE)], [350, 80, 365, 80, 365, 100, 350, 100]);
});

test("what is drawn around a pole is one line without the pole's row in the view from inside", () => {
  const view = new Perspective({ yaw: 30, pitch: 90, fov: 90 }, 600, 400), drawn = ring(view, 120);
  const shape = { shape: "lasso", points: enclosed(drawn, 0, SIZE), line: drawn };
  assert.ok(shape.points.length > drawn.length);
  const lines = onSphere(edgeLine(shape, SIZE, true), SIZE);
  assert.equal(lines.length, 1);
  assert.ok(lines[0].closed);
  for (let i = 0; i < lines[0].xyz.length; i += 3) {
    const p = view.project(lines[0].xyz.subarray(i, i + 3));
    assert.ok(Math.abs(Math.hypot(p.x - 300, p.y - 200) - 120) < 1.5);
  }
});

test("a box is the same pixels on both views, over the seam and of all columns too", () => {
  assert.deepEqual([...edgeLine({ shape: "box", box: [350.2, 10.7, 9.5, 20.1] }, SIZE, true)],
    [350, 10, 370, 10, 370, 21, 350, 21]);
  assert.deepEqual([...edgeLine({ shape: "box", box: [0, 0, 359, 180] }, SIZE, false)],
    [0, 0, 360, 0, 360, 180, 0, 180]);
});

test("the brush covers discs of the canvas, cut off at its edge, without gaps", () => {
  const disc = discAt(10, 3, 8, SIZE);
  for (let i = 0; i < disc.length; i += 2) {
    assert.ok(disc[i + 1] >= 0 && Math.hypot(disc[i] - 10, disc[i + 1] - 3) < 8.001);
  }
  const middle = (d) => d.reduce((sum, v, i) => (i % 2 ? sum : sum + (2 * v) / d.length), 0);
  const middles = discsOf([[355, 90], [5, 90]], 6, SIZE).map(middle);
  assert.ok(Math.abs(middles[0] - 355) < 0.1 && Math.abs(middles.at(-1) - 365) < 0.1);
  middles.slice(1).forEach((m, k) => assert.ok(m - middles[k] <= 2.01));
});

test("a move is shown as it is kept: up and down it stops at the canvas's edge", () => {
  const lines = [Float32Array.of(10, 20, 30, 20, 30, 50, 10, 50)];
  assert.deepEqual(heldInside({ dx: 5, dy: -40 }, lines, SIZE), { dx: 5, dy: -20 });
  assert.deepEqual(heldInside({ dx: 5, dy: 400 }, lines, SIZE), { dx: 5, dy: 130 });
  assert.deepEqual(heldInside({ dx: 5, dy: 7 }, lines, SIZE), { dx: 5, dy: 7 });
});
