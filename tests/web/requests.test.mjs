import assert from "node:assert/strict";
import test from "node:test";

import { Requests } from "../../pages/components/web/requests.js";
import { Stage } from "../../pages/components/web/stage.js";

function wanted(status, nFrames = 100, here = 0) {
  const player = {
    scene: { header: { has: { audio: true }, reading: [] }, tables: [] }, status, systemKeys: [], nFrames,
    hearing: { wanted: () => [] }, timeline: { spectrogram: {} }, acousticKinds: ["uplam"], latticeIndex: null,
    store: { lattices: new Map() }, blockFrames: 20, blockAt: (frame) => Math.floor(frame / 20),
  };
  const requests = Object.assign(Object.create(Requests.prototype), { player, extras: {}, decoding: new Set() });
  return requests.extrasWanted(here);
}

function said(status, frame = 0, nFrames = 100) {
  const player = { acousticKind: "uplam", fps: 10, frame, lattice: null, nFrames, status };
  return Stage.prototype.layerMessage.call({ player });
}

test("acoustic maps end where the sound does: no more are asked for, and it is said", () => {
  assert.deepEqual(wanted({}), ["lattice_index", "ac.uplam.0", "ac.uplam.1", "ac.uplam.2"]);
  const short = wanted({ "ac.uplam": { state: "done", frames: 30 } });
  assert.deepEqual(short, ["lattice_index", "ac.uplam.0", "ac.uplam.1"]);
  assert.match(said({ "ac.uplam": { state: "running", fraction: 0.5 } }), /^Computing.*50 %/);
  assert.match(said({ "ac.uplam": { state: "done", frames: 30 } }, 30), /the sound ends at 3\.0 s/);
  // shorter than a frame: there is nothing to come, not even the table of the lattice
  assert.deepEqual(wanted({ "ac.uplam": { state: "done", frames: 0 } }, 1), []);
  assert.match(said({ "ac.uplam": { state: "done", frames: 0 } }), /shorter than one frame/);
  assert.match(said({}, 0, 0), /shorter than one frame/);
});
