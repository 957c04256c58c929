import assert from "node:assert/strict";
import test from "node:test";

import { Pictures, Store } from "../../pages/components/web/store.js";

const block = (index, bytes = 10) => ({ index, bytes });

test("the least recently used block goes first, the neighbourhood of the cursor never", () => {
  const store = new Store(45);
  for (const index of [10, 11, 0, 1]) store.add(block(index), 10);
  assert.equal(store.bytes, 40);
  store.get(0);
  store.add(block(2), 10);
  assert.deepEqual([...store.blocks.keys()].sort((a, b) => a - b), [0, 2, 10, 11]);
  store.add(block(3), 3); // now the cursor is elsewhere
  assert.deepEqual([...store.blocks.keys()].sort((a, b) => a - b), [0, 2, 3, 11]);
  store.add(block(3, 15), 3);
  assert.equal(store.bytes, [...store.blocks.values()].reduce((n, b) => n + b.bytes, 0));
  const { generation } = store;
  store.clear();
  assert.deepEqual([store.blocks.size, store.bytes, store.generation], [0, 0, generation + 1]);
});

test("a frame that came alone is shown until its block is here", () => {
  const store = new Store();
  store.still = { index: 2, start: 47, stop: 48 };
  store.stillOf = 2;
  assert.equal(store.showing(2, 47), store.still);
  assert.equal(store.showing(2, 46), undefined);
  assert.equal(store.has(2), false); // the block is still wanted, and nothing is played without it
  store.add(block(2), 2);
  assert.equal(store.showing(2, 47).bytes, 10);
  assert.equal(store.still, null);
  store.still = { index: 3, start: 60, stop: 61 };
  store.clear();
  assert.deepEqual([store.still, store.stillOf], [null, -1]);
});

test("lattices are bounded", () => {
  const store = new Store(100, 2, 3);
  for (let k = 0; k < 6; k++) store.addLattice(`ac.uplam.${k}`, {});
  assert.deepEqual([...store.lattices.keys()], ["ac.uplam.3", "ac.uplam.4", "ac.uplam.5"]);
});

test("pictures are decoded once, closed when they go, and told when they come", async () => {
  const waits = [], closed = [];
  const pictures = new Pictures(2, (jpeg) => new Promise((resolve) => waits.push([jpeg[0], resolve])));
  const bitmap = (name) => ({ name, close: () => closed.push(name) });
  const come = async () => {
    for (const [name, resolve] of waits.splice(0)) resolve(bitmap(name));
    await new Promise((resolve) => setTimeout(resolve));
  };
  let told = 0;
  const get = (name, held) => pictures.get(name, new Uint8Array([name]), () => (told += 1), held);
  assert.equal(get(1), null);
  assert.equal(get(1), null);
  assert.equal(waits.length, 1);
  await come();
  assert.equal(told, 1);
  const first = get(1);
  assert.equal(first.name, 1);
  get(2);
  get(3, first); // one too many: the first goes, but is on the screen
  assert.deepEqual(closed, []);
  assert.equal(pictures.entries.size, 2);
  get(4); // the second one goes before it has come: it is closed on arrival
  await come();
  assert.deepEqual(closed, [2]);
  assert.equal(pictures.get(9, null, () => {}), null);
  pictures.clear();
  assert.deepEqual(closed.sort(), [2, 3, 4]);
});
