import assert from "node:assert/strict";
import test from "node:test";

import { isAt, readView, withView } from "../../pages/components/web/address.js";
import { SIZE } from "./helpers.mjs";

const LAYOUTS = ["A", "B", "AB"];
const VIEW = {
  frame: 251,
  camera: { x: 355.5, y: 60.2, z: 4 },
  gaze: { yaw: -120.5, pitch: 33.3, fov: 75 },
  looking: true,
  max: "predA",
  layout: "AB",
  isolate: { table: "L", category: 8, instance: 3 },
  loop: [20, 27],
  overlay: "ac.beamformer",
};
const SEEN = { camera: { x: 180, y: 90, z: 1 }, gaze: null, looking: false };
const PLAIN = { frame: 0, ...SEEN, max: null, isolate: null, loop: null, overlay: "none" };

test("a view comes back from its address", () => {
  for (const view of [VIEW, PLAIN, { ...PLAIN, layout: "B", isolate: { table: "A", category: 0, instance: -1 } }]) {
    const url = new URL(withView("http://h/explorer?rec=a%2Fb&frame=9&view=z3", view, SIZE));
    assert.equal(url.searchParams.get("rec"), "a/b");
    assert.deepEqual(readView(url.search, LAYOUTS, SIZE), view);
  }
});

test("an address without a moment says nothing, a bare frame the whole canvas", () => {
  assert.equal(readView("?rec=x", LAYOUTS, SIZE), null);
  const { overlay, looking, ...rest } = PLAIN;
  assert.equal(looking, false);
  assert.equal(overlay, "none");
  assert.deepEqual(readView("?frame=0", LAYOUTS, SIZE), rest);
});

test("whatever an address holds, the view is one", () => {
  const odd = [
    "frame=-3", "frame=abc", "frame=1e9", "frame=", "frame=Infinity&view=z0", "view=_____", "view=sL.1", "view=r5",
    "view=r-5.2", "view=r1e-9.2e-9", "view=r.3", "view=rInfinity.1",
    "view=g1e400*0*90", "view=g", "view=g720.5*-95*1", "view=g1**90", "view=g1*2", "view=g-1e99*90.01*130_wx",
    "view=x1e400_y-7_z4", "view=z99_x%00_yNaN_l__proto___s9.1.2_r9.3_oac.%3C_p%3Cb%3E",
  ];
  for (const query of odd) {
    const view = readView(`?${query}`, LAYOUTS, SIZE);
    assert.ok(view.frame === undefined || (Number.isInteger(view.frame) && view.frame >= 0), query);
    const { x, y, z } = view.camera;
    assert.ok(x >= 0 && x < 360 && z >= 1 && z <= 24, query);
    assert.ok(y >= 90 / z && y <= 180 - 90 / z, query);
    const { yaw, pitch, fov } = view.gaze || { yaw: 0, pitch: 0, fov: 90 };
    assert.ok(fov >= 30 && fov <= 120 && Math.abs(pitch) <= 90 && yaw >= -180 && yaw < 180, query);
    assert.equal(view.layout, undefined);
    assert.equal(view.isolate, null);
    assert.equal(view.loop, null);
    assert.equal(view.overlay, undefined);
    assert.ok(view.max === null || /^[a-zA-Z]+$/.test(view.max), query);
  }
});

test("an address is that of a place when all of it agrees", () => {
  const place = { rec: "dev/a", a: "first", root: null };
  assert.ok(isAt("?rec=dev%2Fa&a=first&frame=3", place));
  assert.ok(!isAt("?rec=dev%2Fb&a=first", place));
  assert.ok(!isAt("?rec=dev%2Fa&a=first&root=x", place));
  assert.ok(!isAt("?a=first", place));
  assert.ok(isAt("?anything", undefined));
});
