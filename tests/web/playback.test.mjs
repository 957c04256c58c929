import assert from "node:assert/strict";
import test from "node:test";

import { stretch } from "../../pages/components/web/desk_listening.js";
import { bufferOf, positionAt, Sound, step, timeOf } from "../../pages/components/web/playback.js";
import { clock } from "../../pages/components/web/words.js";

test("the clock: frames from seconds and back, at any speed", () => {
  for (const speed of [0.25, 1, 2]) {
    const from = { frame0: 50, t0: 3, speed, fps: 10 };
    assert.equal(positionAt(3, from), 50);
    assert.equal(positionAt(2, from), 50); // not heard yet
    assert.equal(positionAt(3 + 1 / speed, from), 60);
    for (const frame of [50, 51, 77]) assert.ok(Math.abs(positionAt(timeOf(frame, from), from) - frame) < 1e-9);
  }
  assert.equal(positionAt(4, { frame0: 0, t0: 3, speed: 1, fps: 25 }), 25);
});

test("what to do at a position", () => {
  const film = { loop: null, nFrames: 100, has: (f) => f !== 30 };
  assert.deepEqual(step(12.999, film), { kind: "show", frame: 12 });
  assert.deepEqual(step(13 - 1e-9, film), { kind: "show", frame: 13 }); // rounding must not hold a frame back
  assert.deepEqual(step(30.2, film), { kind: "wait", frame: 30 });
  assert.deepEqual(step(100, film), { kind: "end", frame: 99 });
  assert.deepEqual(step(27, { ...film, loop: [20, 27] }), { kind: "loop", frame: 20 });
  assert.deepEqual(step(26.9, { ...film, loop: [20, 27] }), { kind: "show", frame: 26 });
  assert.deepEqual(step(100, { ...film, loop: [90, 100] }), { kind: "loop", frame: 90 });
});

class Context {
  constructor() {
    this.currentTime = 10;
    this.state = "running";
    this.destination = {};
    this.outputLatency = 0;
    this.made = [];
  }

  createGain() {
    return { gain: { value: 1 }, connect() {} };
  }

  createBuffer(channels, length, rate) {
    const data = new Float32Array(length);
    return { length, rate, getChannelData: () => data };
  }

  createBufferSource() {
    const source = { playbackRate: {}, connect() {}, disconnect() {}, stop() {}, start: (...at) => (source.at = at) };
    this.made.push(source);
    return source;
  }
}

test("sound of consecutive blocks follows without gaps, a little ahead", async () => {
  globalThis.AudioContext = class extends Context {};
  const rate = 100, fps = 10, audio = Int16Array.from({ length: 20 * 10 }, (_, i) => i);
  const blocks = [0, 20, 40, 60].map((start) => ({ start, stop: start + 20, audio }));
  const sound = new Sound();
  assert.equal(await sound.start(15, 1, (f) => blocks[Math.floor(f / 20)], { audible: true, rate, fps }), true);
  const { made } = sound.context;
  // the rest of the first block, and the next one, which begins within the time ahead
  assert.deepEqual(made.map((s) => s.buffer.length), [50, 200]);
  assert.equal(made[0].buffer.getChannelData(0)[0] * 32768, 150);
  assert.ok(Math.abs(made[1].at[0] - made[0].at[0] - 0.5) < 1e-9);
  sound.context.currentTime = made[1].at[0] + 1;
  sound.pump();
  assert.equal(made.length, 3);
  assert.ok(Math.abs(made[2].at[0] - made[1].at[0] - 2) < 1e-9);
  assert.ok(Math.abs(sound.position() - 30) < 1e-9);
  sound.mute(true);
  assert.equal(sound.gain.gain.value, 0);
  sound.stop();
  assert.equal(sound.position(), 15);
});

test("a browser that refuses sound plays on by the page's clock", async () => {
  globalThis.AudioContext = class extends Context {
    constructor() {
      super();
      this.state = "suspended";
    }

    resume() {
      return new Promise(() => {});
    }
  };
  const sound = new Sound();
  assert.equal(await sound.start(3, 1, () => undefined, { audible: true, rate: 100, fps: 10 }), true);
  assert.equal(sound.audible, false);
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.ok(sound.position() > 4);
});

test("samples become sound between -1 and 1, and nothing a moment of silence", () => {
  const context = new Context();
  assert.deepEqual([...bufferOf(context, new Int16Array([-32768, 0, 16384]), 100).getChannelData(0)], [-1, 0, 0.5]);
  assert.equal(bufferOf(context, new Int16Array(0), 100).length, 1);
});

test("an event is played with half a second around it", () => {
  const item = { start: 30, end: 39 };
  assert.deepEqual(stretch(30, item, 20, 60, 10), [30, 45]);
  assert.deepEqual(stretch(46, item, 20, 60, 10), [25, 45]);
  assert.deepEqual(stretch(30, { start: 21, end: 21 }, 20, 60, 10), [20, 30]);
  assert.deepEqual(stretch(58, { start: 30, end: 59 }, 20, 60, 10), [58, 60]);
});

test("minutes and seconds", () => {
  assert.equal(clock(25.1, 1), "0:25.1");
  assert.equal(clock(60, 0), "1:00");
  assert.equal(clock(59.9999999999, 1), "1:00.0");
  assert.equal(clock(3725, 0), "62:05");
});
