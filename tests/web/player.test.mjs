import assert from "node:assert/strict";
import test from "node:test";

import { EventList } from "../../pages/components/web/events.js";
import { Player } from "../../pages/components/web/player.js";
import { Readout } from "../../pages/components/web/readout.js";

/** As much of the browser's elements as a list of words needs. */
class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], dataset: {}, style: {}, rows: [], textContent: "", disabled: false });
    this.classList = { toggle() {}, add() {}, remove() {} };
  }

  replaceChildren(...children) {
    this.children = children;
  }

  append(...children) {
    this.children.push(...children);
  }

  createTHead() {
    return this;
  }

  createTBody() {
    return this;
  }

  insertRow() {
    return this;
  }

  get words() {
    return [this.textContent, ...this.children.map((c) => (typeof c === "string" ? c : c.words))].join(" ").trim();
  }
}

/** A player without a page, of systems A and B, of which some can be read. */
function playerOf(tables, more = {}, reading = []) {
  globalThis.document = { createElement: (tag) => new Element(tag) };
  globalThis.window = { devicePixelRatio: 1 };
  const player = Object.create(Player.prototype);
  const messages = { A: "The predictions of mine cannot be read.", B: "other has no file for this recording." };
  const header = { has: { labels: true }, messages, unreadable: ["A"], reading, systems: { A: {}, B: {} } };
  const ref = Object.fromEntries(["scores", "missing", "legend", "events"].map((name) => [name, new Element("div")]));
  const scene = { tables, header };
  Object.assign(player, { scene, layout: "AB", systemKeys: ["A", "B"], matches: {}, status: {}, ref, theme: {} }, more);
  player.readout = new Readout(player);
  return player;
}

test("errors are those of the first system that can be read", () => {
  assert.equal(playerOf(["L", "A", "B"]).lead, "A");
  assert.equal(playerOf(["L", "B"]).lead, "B");
  assert.equal(playerOf(["L", "B"], { layout: "A" }).lead, "");
  assert.equal(playerOf(["L"]).lead, "");
});

test("the legend names the system that has the errors, and none where none has", () => {
  const legend = (tables) => {
    const player = playerOf(tables, { timeline: { mark() {} } });
    Element.prototype.getContext = () => ({ scale() {} });
    player.readout.legendRow();
    return player.ref.legend.words;
  };
  assert.match(legend(["L", "A", "B"]), /missed \(A\)/);
  assert.match(legend(["L", "B"]), /missed \(B\)/);
  assert.doesNotMatch(legend(["L"]), /\(/);
});

test("a damaged file of predictions is not the same as none", () => {
  const player = playerOf(["L"]);
  player.readout.showScores();
  assert.match(player.ref.scores.words, /A: The predictions of mine cannot be read/);
  assert.match(player.ref.scores.words, /B: other has no file/);
  assert.deepEqual(["A", "B"].map((t) => player.readout.frameFigures(t)[0]), ["cannot be read", "no predictions"]);
});

test("labels that cannot be read are not the same as none", () => {
  const player = playerOf([]);
  assert.equal(player.nothing, "The predictions of mine cannot be read.");
  Object.assign(player.scene.header, { unreadable: ["L"], messages: { labels: "The labels cannot be read." } });
  assert.equal(player.nothing, "The labels cannot be read.");
  player.scene.header.unreadable = [];
  assert.equal(player.nothing, "");
});

test("what flashes is not wiped off by the next answer of the server", () => {
  const player = playerOf([]);
  player.ref.note = new Element("div");
  player.readout.flash("It is mono.");
  player.readout.note("");
  assert.equal(player.ref.note.textContent, "It is mono.");
  clearTimeout(player.readout.flashTimer);
});

test("while it is matched there is no class to choose, and the choice says so", () => {
  const painted = (status) => {
    const player = playerOf(["L", "A"], { status, layout: "A" }), select = new Element("select");
    player.root = { querySelector: () => select, querySelectorAll: () => [] };
    const list = new EventList(player);
    list.open = true;
    list.paint();
    return [select.disabled, select.words, player.ref.events.words];
  };
  assert.deepEqual(painted({}), [true, "matching …", "Matching is still running."]);
  assert.deepEqual(painted({ A: { state: "error", text: "Too large." } }), [true, "no errors", "Too large."]);
});

test("what is still being read says so, and how far it is", () => {
  const status = { "table.A": { state: "running", fraction: 0.347 } };
  const player = playerOf(["B"], { status }, ["L", "A"]);
  const reading = { labels: "The labels are being read", A: "The predictions are being read" };
  Object.assign(player.scene.header.messages, reading);
  player.scene.header.has.labels = false;
  assert.equal(player.missing("L"), "The labels are being read …");
  assert.equal(player.missing("A"), "The predictions are being read, 34 %");
  assert.equal(player.missing("B"), "other has no file for this recording.");
  assert.deepEqual(player.panelled, ["A", "B"]);
  assert.match(player.errorsMissing, /have been read/);
  player.readout.showScores();
  assert.match(player.ref.scores.words, /The labels are being read/);
  assert.doesNotMatch(player.ref.missing.textContent, /being read/);
});
