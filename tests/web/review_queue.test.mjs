import assert from "node:assert/strict";
import test from "node:test";

import { coming, countsWith, neighbour, openRows, Outbox, replay } from "../../pages/components/web/review_queue.js";
import { Storage } from "./helpers.mjs";

const list = (ids, more = {}) => ({
  show: "open",
  rows: ids.map((id) => ({ id, status: "open" })),
  first: 0,
  total: ids.length,
  counts: { open: ids.length, done: 0, unsure: 0, conflict: 0 },
  undo: [],
  redo: [],
  ...more,
});
const act = (action, item = "", more = {}) => ({ action, item, reviewer: "ann", uid: `${action} ${item}`, ...more });

test("decisions outlive the tab, in their order, until they are saved", () => {
  const storage = new Storage();
  storage.setItem("something else", "{}");
  const box = new Outbox(storage, "f");
  box.add(act("accept", "b"), "2", 1000);
  box.add(act("reject", "a"), "1", 1000); // within the same millisecond
  box.add(act("next", "a"), "3", 1001); // a way to go is no decision
  box.waiting[0].held = "decided";
  box.keep(box.waiting[0]);
  const again = new Outbox(storage, "f");
  assert.deepEqual(again.waiting.map((a) => [a.uid, a.action]), [["2", "accept"], ["1", "reject"]]);
  assert.ok(again.waiting.every((a) => !a.held));
  assert.deepEqual(new Outbox(storage, "another file").waiting, []);
  again.settle("2");
  assert.deepEqual(new Outbox(storage, "f").waiting.map((a) => a.uid), ["1"]);
  assert.deepEqual(again.ready("bob"), []);
  assert.equal(again.ready("ann").length, 1);
  assert.ok(storage.getItem("something else"));
});

test("a storage that is full or closed loses no decision of this tab, and says so", () => {
  const storage = new Storage();
  storage.full = true;
  const box = new Outbox(storage, "f");
  box.add(act("accept", "a"), "1", 1);
  assert.equal(box.kept, false);
  assert.equal(box.ready("ann").length, 1);
  const closed = new Outbox({ get length() { throw new Error("SecurityError"); } }, "f");
  assert.equal(closed.kept, false);
});

test("undo and redo are known before the server answers", () => {
  const start = { undo: [{ item: "old", text: "rejected" }], redo: [] };
  const one = replay(start, [act("accept", "a"), act("unsure", "b")]);
  assert.deepEqual([...one.decided], [["a", "accept"], ["b", "unsure"]]);
  const two = replay(start, [act("accept", "a"), act("unsure", "b"), act("undo"), act("undo"), act("redo")]);
  assert.deepEqual([...two.decided], [["a", "accept"]]);
  assert.deepEqual(two.undo.map((s) => s.item), ["old", "a"]);
  assert.deepEqual(two.redo.map((s) => s.item), ["b"]);
  const three = replay(start, [act("undo"), act("undo"), act("undo")]); // more than there is
  assert.deepEqual(three.undo, []);
  assert.deepEqual(three.redo.map((s) => s.item), ["old"]);
  assert.deepEqual(replay({ undo: [], redo: [{ item: "x", text: "" }] }, [act("accept", "a")]).redo, []);
  // the newest line about an item, notes aside; what is held is not written
  const held = act("class", "c", { uid: "4", held: "decided" });
  const four = replay(start, [act("accept", "a", { uid: "1" }), act("tag", "a", { uid: "2" }), held]);
  assert.deepEqual([...four.newest], [["a", "1"]]);
  const five = replay(start, [...four.undo.flatMap((s) => s.waits || []), act("undo", "", { uid: "3" })]);
  assert.deepEqual([...five.newest], [["a", "3"]]);
  assert.equal(start.undo.length, 1);
});

test("the next item: in order, around the end, without those that wait", () => {
  const abc = list(["a", "b", "c"]), none = new Map();
  assert.equal(neighbour(abc, none, "a"), "b");
  assert.equal(neighbour(abc, none, "c"), "a");
  assert.equal(neighbour(abc, none, "a", { direction: -1 }), "c");
  assert.equal(neighbour(abc, none, "gone"), "a");
  assert.equal(neighbour(abc, none, "gone", { direction: -1 }), "c");
  const two = new Map([["b", "accept"], ["c", "reject"]]);
  assert.equal(neighbour(abc, two, "a"), null);
  assert.deepEqual(openRows(abc, two).map((r) => r.id), ["a"]);
  // a list that keeps what is decided
  const all = { ...abc, show: "all" };
  assert.equal(neighbour(all, two, "a"), "b");
  assert.equal(neighbour(all, two, "a", { unresolved: true }), null);
  assert.equal(openRows(all, two).length, 3);
  // a part of a longer list: its ends are not known
  const part = list(["d", "e"], { first: 3, total: 9 });
  assert.equal(neighbour(part, none, "e"), null);
  assert.equal(neighbour(part, none, "d", { direction: -1 }), null);
  assert.equal(neighbour(list([]), none, null), null);
});

test("what comes is listed once, and ends", () => {
  assert.deepEqual(coming(list(["a", "b", "c"]), new Map(), "b"), ["c", "a"]);
  assert.deepEqual(coming(list(["a", "b", "c", "d", "e", "f"]), new Map([["c", "x"]]), "b"), ["d", "e", "f", "a"]);
  assert.deepEqual(coming(list(["a"]), new Map(), "a"), []);
  assert.deepEqual(coming(list(["a", "b"]), new Map(), null), ["a", "b"]);
});

test("counts with what waits", () => {
  const abc = list(["a", "b", "c"]);
  abc.rows[2].status = "conflict";
  abc.counts = { open: 2, done: 5, unsure: 0, conflict: 1 };
  const decided = new Map([["a", "accept"], ["b", "unsure"], ["c", "reject"]]);
  assert.deepEqual(countsWith(abc, decided), { open: 0, done: 6, unsure: 1, conflict: 1 });
  assert.deepEqual(countsWith({ ...abc, show: "conflict" }, decided), { open: 0, done: 7, unsure: 1, conflict: 0 });
  assert.equal(abc.counts.open, 2);
});
