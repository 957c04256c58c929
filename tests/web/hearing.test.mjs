import assert from "node:assert/strict";
import test from "node:test";

import { readView, withView } from "../../pages/components/web/address.js";
import { readHeard, writtenHeard } from "../../pages/components/web/heard.js";
import { Hearing, soundBlocks } from "../../pages/components/web/hearing.js";
import { Lane } from "../../pages/components/web/playback.js";
import { levelsOf } from "../../pages/components/web/sound_graph.js";
import { SIZE } from "./helpers.mjs";

const SILENT = { plain: 0, beam: "", single: 0, mono: 0, placed: 0, turned: 0 };

test("what is let through: one way at a time, and the plain sound until it is there", () => {
  const all = { scene: true, single: true }, none = { scene: false, single: false };
  const wish = (mode, ears = false) => ({ mode, ears, beam: "cardioid" });
  assert.deepEqual(levelsOf(wish("all"), all), { ...SILENT, plain: 1 });
  assert.deepEqual(levelsOf(wish("all", true), all), { ...SILENT, turned: 1 });
  assert.deepEqual(levelsOf(wish("point"), all), { ...SILENT, beam: "cardioid", mono: 1 });
  assert.deepEqual(levelsOf(wish("point", true), all), { ...SILENT, beam: "cardioid", placed: 1 });
  assert.deepEqual(levelsOf(wish("solo"), all), { ...SILENT, single: 1, mono: 1 });
  assert.deepEqual(levelsOf(wish("solo", true), all), { ...SILENT, single: 1, placed: 1 });
  assert.deepEqual(levelsOf(wish("around", true), all), { ...SILENT, single: 1, mono: 1 });
  for (const mode of ["all", "point", "solo", "around"]) {
    for (const ears of [false, true]) assert.deepEqual(levelsOf(wish(mode, ears), none), { ...SILENT, plain: 1 });
  }
});

test("what is heard goes into the address and comes back", () => {
  const point = { mode: "point", azimuth: -40.26, elevation: 10, beam: "adaptive", ears: true };
  assert.equal(writtenHeard(point), "point*-40.3*10*adaptive*ears");
  assert.deepEqual(readHeard(writtenHeard(point)), { ...point, azimuth: -40.3 });
  assert.equal(writtenHeard({ ...point, mode: "all", ears: false }), "");
  for (const mode of ["all", "solo", "around"]) assert.equal(readHeard(writtenHeard({ ...point, mode })).mode, mode);
  for (const words of ["", "loud*1*2*max-re*", "point*x*0*max-re*", "point*0*91*max-re*", "point*200*0*max-re*"]) {
    assert.equal(readHeard(words), null, words);
  }
  assert.equal(readHeard("point*0*0*nonsense*").beam, "max-re");
  const view = { ...readView("?frame=3", [], SIZE), frame: 3, heard: point, overlay: "none" };
  const href = withView("http://a/explorer", view, SIZE);
  assert.deepEqual(readView(new URL(href).search, [], SIZE).heard, { ...point, azimuth: -40.3 });
});

test("sound is wanted ahead, and where a loop begins", () => {
  assert.deepEqual(soundBlocks(4, 9, true, null), [4, 5, 6]);
  assert.deepEqual(soundBlocks(4, 4, true, 1), [4, 1]);
  assert.deepEqual(soundBlocks(4, 9, false, 5), [4, 5]);
});

class Context {
  currentTime = 10;

  createBuffer(channels, length) {
    const data = Array.from({ length: channels }, () => new Float32Array(length));
    return { length, getChannelData: (k) => data[k] };
  }

  createBufferSource() {
    const source = { playbackRate: {}, connect() {}, start: (...at) => (source.at = at) };
    source.stop = (at) => (source.ended = at);
    (this.made ||= []).push(source);
    return source;
  }
}

test("sound that comes late joins in exactly where it should be, and is relied upon from then on", () => {
  const context = new Context(), pieces = new Map(), rate = 100;
  const sound = { context, rate, from: { frame0: 0, t0: 10, speed: 1, fps: 10 } };
  const piece = (k) => ({ start: k * 20, stop: k * 20 + 20, channels: 2, scale: 2,
    samples: Int16Array.from({ length: 400 }, (_, i) => i) });
  const lane = new Lane((frame) => pieces.get(Math.floor(frame / 20)), () => ({}));
  lane.pump(sound);
  assert.equal(context.made, undefined);
  context.currentTime = 10.55; // in frame 5
  pieces.set(0, piece(0));
  lane.pump(sound);
  const [{ at, buffer }] = context.made;
  assert.deepEqual([buffer.length, buffer.getChannelData(1)[0]], [150, Math.fround((250 * 2) / 32767)]);
  assert.ok(Math.abs(at[0] - 10.56) < 1e-9 && Math.abs(at[1] - 0.06) < 1e-9); // frame 5 began at 10.5
  assert.ok(!lane.sounds(10.555) && lane.sounds(10.56) && !lane.sounds(11.96));
  pieces.set(1, piece(1));
  context.currentTime = 11.5;
  lane.pump(sound);
  assert.deepEqual(context.made[1].at, [12]); // follows without a gap
  assert.ok(lane.sounds(11.96));
  lane.drop(11.52);
  assert.deepEqual(context.made.map((s) => s.ended), [11.52, 11.52]);
  assert.ok(!lane.sounds(11.51));
  context.currentTime = 16; // behind all that is there
  lane.pump(sound);
  assert.equal(context.made.length, 2);
});

test("sound without directions: nothing is drawn or kept that cannot be heard, and it is said why", () => {
  const said = [], nothing = () => {};
  const player = {
    sound: {}, prefs: { beam: "max-re" }, status: {}, size: SIZE, cursor: null, frame: 0,
    scene: { header: { has: { audio: true }, messages: {} } }, readout: { flash: (text) => said.push(text) },
    stage: { invalidate: nothing }, requests: { plan: nothing, extras: {} }, saveUrl: nothing, timeline: {},
    ref: { hearMenu: { hidden: true } },
  };
  const hearing = new Hearing(/** @type {any} */ (player));
  hearing.show = nothing;
  hearing.choose("point");
  assert.equal(hearing.ring().side, ""); // how wide is not known yet: a mark of where
  assert.deepEqual(hearing.wanted(0, 0), ["sound"]);
  player.status = { sound: { state: "error", text: "/a/b.wav is mono; expected 4 channels." } };
  hearing.answered();
  player.status = {}; // of the next answer
  hearing.answered();
  assert.deepEqual([hearing.mode, hearing.ears, hearing.words], ["all", false, "Mono: all directions"]);
  assert.deepEqual(said, ["/a/b.wav is mono; expected 4 channels."]);
  assert.match(hearing.state, /is mono.*All directions are heard/);
  for (const mode of ["point", "solo", "around"]) hearing.choose(mode);
  hearing.toggleEars();
  hearing.restore({ mode: "point", azimuth: 10, elevation: 0, beam: "max-re", ears: true });
  assert.deepEqual([said.length, writtenHeard(hearing.heard), hearing.ring()], [5, "", null]);
  assert.deepEqual(hearing.wanted(0, 0), []);
  hearing.graph = null;
  hearing.reset();
  assert.equal(hearing.words, "All, two ears"); // in a recording that has directions the wish counts again
  hearing.toggleEars();
  assert.equal(hearing.words, "All directions");
});

test("a source of the address that is still being read is not forgotten meanwhile, and it is said", () => {
  const said = [], nothing = () => {}, isolate = { table: "L", category: 3, instance: 1 };
  const player = {
    sound: {}, prefs: { beam: "max-re" }, status: {}, size: SIZE, frame: 0,
    awaited: { isolate, heard: { mode: "solo" } },
    scene: { header: { has: { audio: true }, messages: {} } }, readout: { flash: (text) => said.push(text) },
    stage: { invalidate: nothing }, requests: { plan: nothing, extras: {} }, saveUrl: nothing, timeline: {},
    ref: { hearMenu: { hidden: true } },
  };
  const hearing = new Hearing(/** @type {any} */ (player));
  hearing.show = nothing;
  assert.match(hearing.state, /still being read/);
  hearing.choose("all"); // who chooses something else meanwhile has it
  assert.equal(player.awaited, null);
  assert.equal(hearing.state, "");
});
