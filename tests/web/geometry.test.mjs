import assert from "node:assert/strict";
import test from "node:test";

import {
  angleBetween, direction, pointOf, settled, shortest, valueAt, wrap, zoomed,
} from "../../pages/components/web/geometry.js";
import { smallestAt, Sources } from "../../pages/components/web/sources.js";
import { boxOf } from "../../pages/components/web/desk_shapes.js";
import { SIZE } from "./helpers.mjs";

test("azimuth 0 is in the middle and grows to the left", () => {
  assert.deepEqual(direction({ x: 180, y: 90 }, SIZE), { azimuth: 0, elevation: 0 });
  assert.deepEqual(direction({ x: 70.5, y: 60 }, SIZE), { azimuth: 109.5, elevation: 30 });
  assert.deepEqual(direction({ x: 0, y: 0 }, SIZE), { azimuth: -180, elevation: 90 });
  for (const [azimuth, elevation] of [[0, 0], [109.5, 29.5], [-179, -60], [-180, 90]]) {
    for (const size of [SIZE, { width: 720, height: 360 }]) {
      const back = direction(pointOf(azimuth, elevation, size), size);
      assert.ok(Math.abs(back.azimuth - azimuth) < 1e-9 && Math.abs(back.elevation - elevation) < 1e-9);
    }
  }
});

test("the seam is no border", () => {
  assert.equal(wrap(-1, 360), 359);
  assert.equal(wrap(360, 360), 0);
  assert.equal(shortest(359, 360), -1);
  assert.equal(shortest(-359, 360), 1);
  assert.equal(shortest(180, 360), -180);
});

const SEAM = { table: 0, row: 7, frame: 0, x0: 355, y0: 10, w: 10, h: 2, offset: 1 };
const VALUES = Uint8Array.from({ length: 21 }, (_, i) => i);

test("a patch over the seam is hit on both sides of it", () => {
  assert.equal(valueAt(SEAM, VALUES, { x: 355.9, y: 10.1 }, 360), 1);
  assert.equal(valueAt(SEAM, VALUES, { x: 0, y: 10 }, 360), 6);
  assert.equal(valueAt(SEAM, VALUES, { x: 4.99, y: 11.9 }, 360), 20);
  for (const [x, y] of [[354.9, 10], [5, 10], [0, 9.9], [0, 12]]) assert.equal(valueAt(SEAM, VALUES, { x, y }, 360), 0);
});

test("the smallest region under a point is hit, and none where all are empty", () => {
  const large = { ...SEAM, row: 8, x0: 300, w: 120, h: 30, y0: 0, offset: 0 };
  const block = { values: new Uint8Array(4000).fill(1), patchesOf: () => [large, SEAM] };
  const hit = (x, y, accept = () => true) => smallestAt(block, 0, { x, y }, 360, accept);
  assert.equal(hit(2, 10).row, 7);
  assert.equal(hit(30, 10).row, 8);
  assert.equal(hit(2, 10, (p) => p.row !== 7).row, 8);
  assert.equal(hit(200, 10), null);
  block.values.fill(0);
  assert.equal(hit(2, 10), null);
});

test("zooming keeps the point under the pointer, across the seam too", () => {
  const camera = { x: 350, y: 90, z: 2 };
  const next = zoomed(camera, 2, { x: 5, y: 80 }, 24, SIZE);
  assert.equal(next.z, 4);
  // its distance from the middle, in screen pixels, is what it was
  assert.equal(shortest(5 - next.x, 360) * next.z, 15 * camera.z);
  assert.equal((80 - next.y) * next.z, -10 * camera.z);
  assert.equal(zoomed({ x: 0, y: 0, z: 20 }, 3, null, 24, SIZE).z, 24);
  assert.equal(zoomed(camera, 0.1, null, 24, SIZE).z, 1);
});

test("nothing beyond the poles is shown, and azimuth goes around", () => {
  assert.deepEqual(settled({ x: -10, y: 5, z: 2 }, 45, SIZE), { x: 350, y: 45, z: 2 });
  assert.deepEqual(settled({ x: 365, y: 175, z: 2 }, 45, SIZE), { x: 5, y: 135, z: 2 });
  assert.deepEqual(settled({ x: 180, y: 20, z: 1 }, 120, SIZE), { x: 180, y: 90, z: 1 });
});

test("a box drawn over the seam has its left edge right of its right one", () => {
  const place = (rawX, y) => ({ rawX, x: wrap(rawX, 360), y, inside: true });
  assert.deepEqual(boxOf(place(350, 20), place(370, 10), 360), [350, 10, 10, 20]);
  assert.deepEqual(boxOf(place(370, 20), place(350, 10), 360), [350, 10, 10, 20]);
  const [left, , right] = boxOf(place(0, 0), place(400, 10), 360); // all columns, none twice
  assert.equal(wrap(Math.floor(right) + 1, 360), Math.floor(left));
});

test("the source that is meant is under the pointer or near it, over the seam too; far away none is", () => {
  const angle = angleBetween({ azimuth: 175, elevation: 0 }, { azimuth: -175, elevation: 0 });
  assert.ok(Math.abs(angle - 10) < 1e-9);
  const columns = { L: { frame: [0, 0], category: [1, 2], instance: [0, 0], azimuth: [-178, 40], elevation: [0, 60] } };
  const meant = (azimuth, elevation) => {
    const said = [], sources = new Sources(/** @type {any} */ ({
      cursor: pointOf(azimuth, elevation, SIZE), size: SIZE, frame: 0, shown: [], blockOf: () => null,
      scene: { tables: ["L"], columns }, readout: { flash: (text) => said.push(text) }, prefs: { floor: "0" },
    }));
    let row = -1;
    sources.isolateRow = (table, k) => (row = k);
    sources.takeSource();
    assert.equal(said.length, row < 0 ? 1 : 0);
    return row;
  };
  assert.deepEqual([meant(170, 5), meant(60, 55), meant(-90, 0), meant(0, -80)], [0, 1, -1, -1]);
});
