import assert from "node:assert/strict";
import test from "node:test";

import { Link } from "../../pages/components/web/notebook.js";

/** A widget's model, as anywidget gives it to all that show it. */
class Model {
  constructor(state) {
    this.state = { frame: 0, system: null, event: null, _systems: { A: "first", B: "second" }, ...state };
    Object.assign(this, { listeners: [], sent: [], saves: 0 });
  }

  get(name) {
    return this.state[name];
  }

  set(name, value) {
    this.state[name] = value;
    for (const [event, fn] of [...this.listeners]) if (event === `change:${name}`) fn();
  }

  on(event, fn) {
    this.listeners.push([event, fn]);
  }

  off(event, fn) {
    this.listeners = this.listeners.filter(([e, f]) => e !== event || f !== fn);
  }

  send(content) {
    this.sent.push(content);
  }

  save_changes() {
    this.saves += 1;
  }

  answer(link) {
    const data = new DataView(new Uint8Array([9, 1, 2, 3]).buffer, 1);
    for (const [event, fn] of [...this.listeners]) {
      if (event === "msg:custom") fn({ kind: "answer", to: link.id }, [data]);
    }
  }
}

/** As much of a player as a link needs. */
function newPlayer() {
  const player = {
    frame: 0, layout: "AB", systemKeys: ["A", "B"], isolate: null, scene: null, nFrames: 100, got: [], paused: 0,
    moved: () => {},
    seek(frame) {
      player.frame = frame;
      player.moved();
    },
    setLayout(layout) {
      player.layout = layout;
      player.moved();
    },
    receive(link, bytes) {
      player.got.push([...bytes]);
      player.scene ||= {};
      player.moved();
    },
    sources: {
      setIsolate(source) {
        player.isolate = source;
        player.moved();
      },
    },
    transport: {
      pause: () => {
        player.paused += 1;
      },
    },
  };
  return player;
}

function shown(model) {
  const player = newPlayer(), link = new Link(model, player);
  model.answer(link);
  return { player, link };
}

test("a player begins where the model is, and nothing is told before it has a scene", () => {
  const model = new Model({ frame: 7, system: "second" }), player = newPlayer(), link = new Link(model, player);
  assert.equal(player.frame, 7);
  player.seek(3);
  assert.equal(model.get("frame"), 7);
  player.frame = 7;
  link.setStateValue("request", { seq: 1 });
  assert.deepEqual(model.sent, [{ kind: "request", from: link.id, value: { seq: 1 } }]);
  model.answer(link);
  assert.deepEqual(player.got, [[1, 2, 3]]);
  assert.equal(player.layout, "B");
  link.close();
});

test("a step in the player is told once, and is no change that the player follows", () => {
  const model = new Model(), { player, link } = shown(model), before = model.saves;
  player.seek(5);
  assert.equal(model.get("frame"), 5);
  assert.equal(model.saves, before + 1);
  player.moved();
  assert.equal(model.saves, before + 1);
  assert.equal(player.paused, 0);
  player.setLayout("A");
  assert.equal(model.get("system"), "first");
  player.sources.setIsolate({ table: "L", category: 8, instance: 2 });
  assert.deepEqual(model.get("event"), { of: "labels", category_id: 8, instance_id: 2 });
  link.close();
});

test("Python moves the player, and nothing is told back", () => {
  const model = new Model(), { player, link } = shown(model), before = model.saves;
  model.set("frame", 40);
  model.set("system", "second");
  model.set("event", { instance_id: 1, of: "second", category_id: 3 });
  assert.deepEqual([player.frame, player.layout], [40, "B"]);
  assert.deepEqual(player.isolate, { table: "B", category: 3, instance: 1 });
  model.set("system", null);
  model.set("event", null);
  assert.deepEqual([player.layout, player.isolate, player.paused], ["AB", null, 0]);
  assert.equal(model.saves, before);
  player.moved(); // the same event in another order of its keys
  assert.equal(model.saves, before);
  link.close();
});

test("two cells with one widget follow each other, and get their own answers; one of them plays", () => {
  const model = new Model(), first = shown(model), second = shown(model);
  assert.equal(first.player.got.length, 1);
  first.player.seek(20);
  assert.deepEqual([second.player.frame, second.player.paused, first.player.paused], [20, 1, 0]);
  second.player.seek(21);
  assert.deepEqual([first.player.frame, first.player.paused], [21, 1]);
  second.link.close();
  assert.deepEqual(model.sent.at(-1), { kind: "bye", from: second.link.id });
  first.player.seek(22);
  assert.equal(second.player.frame, 21);
  first.link.close();
  assert.deepEqual(model.listeners, []);
});
