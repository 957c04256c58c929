import assert from "node:assert/strict";
import test from "node:test";

import { Block, unpack } from "../../pages/components/web/protocol.js";
import { concat, pack } from "./helpers.mjs";

test("a container gives its header and arrays, wherever it lies in its message", () => {
  const inner = pack({ index: 3 }, { small: new Int16Array([-2, 7]) });
  const bytes = pack({ name: "ä" }, { x: new Float32Array([1.5, -0.25]), n: new Uint32Array([4e9]) }, { inner });
  const shifted = concat([new Uint8Array(3), bytes]).subarray(3); // no type's alignment
  for (const message of [bytes, shifted]) {
    const { header, arrays } = unpack(message);
    assert.equal(header.name, "ä");
    assert.deepEqual([...arrays.x], [1.5, -0.25]);
    assert.deepEqual([...arrays.n], [4e9]);
    assert.deepEqual([...unpack(arrays.inner).arrays.small], [-2, 7]);
  }
});

test("what is no container is refused", () => {
  assert.throws(() => unpack(new Uint8Array(40)), /not a player container/);
  assert.throws(() => unpack(new Uint8Array([83, 65])), /not a player container/);
});

test("a block sorts patches by frame, scales outlines, and finds pictures", async () => {
  const patches = new Int32Array([0, 5, 1, 350, 10, 20, 2, 0, 1, -1, 0, 3, 4, 1, 1, 40]);
  const header = { index: 2, start: 40, stop: 42, mode: "full", n_values: 0, outline_scale: 16 };
  const arrays = {
    patches,
    outline_xy: new Int16Array([16, 32, 48, 32, 48, 64]),
    outline_offsets: new Int32Array([0, 3]),
    outline_owner: new Int32Array([0]),
    jpeg_offsets: new Uint32Array([0, 0, 3]),
    audio: new Int16Array(4),
  };
  const block = await Block.decode(pack(header, arrays, { jpeg: new Uint8Array([9, 8, 7]) }));
  assert.deepEqual(block.frames, [[1], [0]]);
  assert.deepEqual(block.patch(0), { table: 0, row: 5, frame: 1, x0: 350, y0: 10, w: 20, h: 2, offset: 0 });
  assert.deepEqual(block.patchesOf(40).map((p) => p.row), [-1]);
  assert.deepEqual([...block.outlines[0][0]], [1, 2, 3, 2, 3, 4]);
  assert.deepEqual(block.outlines[1], []);
  assert.equal(block.picture(40), null);
  assert.deepEqual([...block.picture(41)], [9, 8, 7]);
  assert.equal(block.bytes, 0 + 3 + 8 + 64);
});
