import assert from "node:assert/strict";
import test from "node:test";

import {
  arrangement, firstLayout, fitting, layoutsOf, panelGroups, systemsIn,
} from "../../pages/components/web/layouts.js";

const FRAME = { gap: 10, between: 6, across: 36, down: 40 };
const place = (scene, width, height) => arrangement(panelGroups(scene), { width, height }, FRAME).rows;
const scene = (more) => ({ picture: true, labels: true, systems: ["A"], small: false, ...more });

test("four panels follow the window's shape", () => {
  assert.deepEqual(place(scene({}), 1000, 520), [["rgb", "gt"], ["predA", "resA"]]);
  assert.deepEqual(place(scene({}), 1800, 260), [["rgb", "gt", "predA", "resA"]]);
  assert.deepEqual(place(scene({}), 400, 900), [["rgb"], ["gt"], ["predA"], ["resA"]]);
});

test("two systems are columns in a wide window and rows in a narrow one", () => {
  const two = scene({ systems: ["A", "B"] });
  assert.deepEqual(place(two, 1050, 430), [["rgb", "predA", "predB"], ["gt", "resA", "resB"]]);
  assert.deepEqual(place(two, 640, 700), [["rgb", "gt"], ["predA", "resA"], ["predB", "resB"]]);
});

test("what a recording lacks has no panel", () => {
  assert.deepEqual(panelGroups(scene({ picture: false })), [["gt"], ["predA", "resA"]]);
  assert.deepEqual(panelGroups(scene({ systems: [] })), [["rgb", "gt"]]);
  assert.deepEqual(panelGroups(scene({ labels: false })), [["rgb", "predA"]]);
  assert.deepEqual(panelGroups(scene({ labels: false, systems: [], picture: false })), [["rgb"]]);
  assert.deepEqual(place(scene({ systems: [] }), 1000, 400), [["rgb", "gt"]]);
  for (const picture of [true, false]) {
    for (const labels of [true, false]) {
      for (const systems of [[], ["A"], ["B"], ["A", "B"], ["A", "B", "C", "D", "E", "F"]]) {
        for (const small of [true, false]) {
          for (const [width, height] of [[1000, 520], [640, 380], [400, 900], [2400, 500]]) {
            const groups = panelGroups({ picture, labels, systems, small });
            const { rows, width: w } = arrangement(groups, { width, height }, FRAME);
            assert.deepEqual(rows.flat().filter(Boolean).sort(), groups.flat().sort());
            const columns = Math.max(...rows.map((row) => row.length));
            assert.ok(columns * w + (columns - 1) * FRAME.gap <= width);
            assert.ok(rows.length * ((w - FRAME.across) / 2 + FRAME.down) <= height + 1);
          }
        }
      }
    }
  }
});

test("any number of systems: one alone, two side by side, or all", () => {
  const six = ["A", "B", "C", "D", "E", "F"];
  assert.deepEqual(layoutsOf(["A"]), ["A"]);
  assert.deepEqual(layoutsOf(["A", "B"]), ["A", "B", "AB"]);
  assert.deepEqual(layoutsOf(["B", "C", "D"]), ["B", "C", "D", "ALL"]);
  assert.deepEqual([[], ["A"], ["B"], ["A", "B"], six].map(firstLayout), ["A", "A", "B", "AB", "ALL"]);
  assert.deepEqual(systemsIn("ALL", six), six);
  assert.deepEqual(systemsIn("AB", ["A", "B", "C"]), ["A", "B"]);
  assert.deepEqual(systemsIn("A", []), []);
  const small = scene({ systems: six, small: true });
  assert.equal(place(small, 1000, 520).flat().length, 8);
  assert.equal(place(small, 1000, 520)[0].length, 3);
});

test("a title is said as fully as there is room, and never with less than its last way", () => {
  const ways = ["Prediction A", "Pred. A", "A"], width = (way) => way.length;
  assert.equal(fitting(ways, width, 12), "Prediction A");
  assert.equal(fitting(ways, width, 11), "Pred. A");
  assert.equal(fitting(ways, width, 7), "Pred. A");
  assert.equal(fitting(ways, width, 0), "A");
});
