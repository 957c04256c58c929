import assert from "node:assert/strict";
import test from "node:test";

import {
  brighten, compose, latticeLevels, lutPixels, overBands, paintEnergy, paintLattice, paintOver, paintResidual,
} from "../../pages/components/web/painting.js";

const GREY = lutPixels(Array.from({ length: 256 }, (_, v) => v.toString(16).padStart(2, "0").repeat(3)).join(""));

test("colours are red, green, blue in the file and little endian in the pixel", () => {
  assert.deepEqual([...lutPixels("ff000000ff000000ff")], [0xff0000ff, 0xff00ff00, 0xffff0000]);
  assert.equal(brighten("#000000"), "rgb(97,97,97)");
});

test("regions are merged by their maximum, across the seam too", () => {
  const patches = new Int32Array([0, 0, 0, 358, 1, 4, 1, 0, 0, 1, 0, 0, 1, 2, 1, 4, 1, 0, 0, 0, 0, 1, 1, 6]);
  const block = { start: 7, frames: [[0, 1, 2]], patches, values: Uint8Array.from([9, 8, 7, 6, 5, 20, 200]) };
  const field = new Uint8Array(360 * 180).fill(3);
  assert.equal(compose(block, 7, 0, () => true, field, 360), 20);
  assert.deepEqual([...field.subarray(360, 363), ...field.subarray(718, 720)], [7, 20, 0, 9, 8]);
  assert.equal(field[0], 0); // of another table
  assert.equal(compose(block, 7, 0, (row) => row === 0, field, 360), 9);
  assert.equal(compose(block, 7, 1, () => true, field, 360), 200);
});

test("energies, residuals and layers over a picture", () => {
  const out = new Uint32Array(3), field = Uint8Array.from([0, 100, 255]);
  paintEnergy(out, field, GREY, 1);
  assert.deepEqual([...out].map((v) => v & 255), [0, 100, 255]);
  paintEnergy(out, Uint8Array.from([0, 50, 127]), GREY, 255 / 127);
  assert.deepEqual([...out].map((v) => v & 255), [0, 100, 255]);
  paintResidual(out, field, Uint8Array.from([0, 255, 0]), GREY, 1, 1);
  assert.deepEqual([...out].map((v) => v & 255), [127, 204, 0]);
  paintOver(out, field, GREY, 1, 0.5);
  assert.equal(out[0], 0); // nothing where there is no energy
  assert.equal(out[2] >>> 24, 128);
  assert.ok(out[1] >>> 24 > 0 && out[1] >>> 24 <= 128);
  paintOver(out, field, GREY, 1, 1, false);
  assert.equal(out[1] >>> 24, 255);
});

// a step is 1 dB and 255 is the loudest value; the reference of the maximum is 5 dB below it
const LATTICE = {
  start: 4, stop: 7, points: 2, bands: 3, step_db: 1, ceiling_db: -20,
  references_db: { max: -25, median: -30, low: -25, mid: -25, high: -35, 0: -25 },
  values: Uint8Array.from([250, 0, 250, 220, 0, 0, 235, 230, 245, 240, 235, 255, 0, 0, 150, 140, 0, 0]),
};
const NONE = GREY[0]; // black where there is no picture below
const byteAt = (out) => [...out].map((v) => v & 255);

test("bands of the acoustic map", () => {
  assert.equal(overBands([3, 1, 9], "max"), 9);
  assert.equal(overBands([3, 1, 9], "median"), 3);
  assert.equal(overBands([3, 1, 9], "1"), 1);
  assert.deepEqual([...latticeLevels(LATTICE, 5, "max")], [245, 255]);
  assert.deepEqual([...latticeLevels(LATTICE, 5, "median")], [235, 240]);
  assert.deepEqual([...latticeLevels(LATTICE, 5, "mid")], [245, 240]);
  assert.deepEqual([...latticeLevels(LATTICE, 5, "0")], [235, 230]);
});

test("acoustic levels in decibels below the reference; nothing below the range", () => {
  const out = new Uint32Array(3), index = Uint16Array.from([1, 0, 1]);
  const style = { lut: GREY, mode: "max", fixed: true, rangeDb: 20, opacity: 1, fade: false };
  paintLattice(out, LATTICE, 4, index, style);
  assert.deepEqual([...out], [NONE, 0xffffffff, NONE]); // 30 dB below is not drawn, 0 dB is the end of the scale
  paintLattice(out, LATTICE, 4, index, { ...style, rangeDb: 60 });
  assert.deepEqual(byteAt(out), [127, 255, 127]);
  paintLattice(out, LATTICE, 6, index, style);
  assert.deepEqual([...out], [NONE, NONE, NONE]); // 100 dB down
  paintLattice(out, LATTICE, 6, index, { ...style, fixed: false });
  assert.deepEqual([...out], [NONE, NONE, NONE]); // and not lifted by as much as that
  const quiet = { ...LATTICE, values: LATTICE.values.map((v) => v && v - 35) };
  paintLattice(out, quiet, 4, index, style);
  assert.deepEqual([...out], [NONE, NONE, NONE]);
  paintLattice(out, quiet, 4, index, { ...style, fixed: false });
  assert.deepEqual(byteAt(out), [0, 255, 0]); // a quiet frame on its own scale
  paintLattice(out, LATTICE, 5, index, { ...style, mode: "rgb" });
  assert.deepEqual([out[1] & 255, (out[1] >> 8) & 255, (out[1] >> 16) & 255], [63, 191, 191]);
  paintLattice(out, LATTICE, 4, index, { ...style, fade: true, rangeDb: 60 });
  assert.deepEqual([...out].map((v) => v >>> 24), [202, 255, 202]); // faint levels let the picture through
});
