import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import {
  adaptiveWeights, beamWeights, circle, contour, covarianceAround, harmonicsOf, lineOf, rotation, sideOf, turned,
} from "../../pages/components/web/harmonics.js";
import { SIZE } from "./helpers.mjs";

// made by sai_core (tests/listening/test_windows.py)
const { covariance, rows } = JSON.parse(readFileSync(new URL("./fixtures/harmonics.json", import.meta.url), "utf-8"));

function close(found, expected, tolerance = 1e-9) {
  assert.equal(found.length, expected.length);
  expected.forEach((v, k) => assert.ok(Math.abs(found[k] - v) < tolerance, `${found[k]} at ${k}, not ${v}`));
}

test("harmonics, weights and turning are those of the server", () => {
  for (const { azimuth, elevation, harmonics, beams, adaptive, rotation: matrix } of rows) {
    const at = { azimuth, elevation };
    close(harmonicsOf(4, at), harmonics);
    for (const [beam, weights] of Object.entries(beams)) close(beamWeights(beam, 3, at), weights);
    close(adaptiveWeights(covariance, at), adaptive);
    close(adaptiveWeights(Float32Array.from(covariance), at), adaptive, 1e-5); // as it travels
    close(rotation(2, azimuth, elevation).flatMap((row) => [...row]), matrix);
    const ahead = turned(at, azimuth, elevation);
    close([ahead.azimuth, ahead.elevation], [0, 0]);
  }
});

test("covariances are summed around a frame, as far as they go", () => {
  const covariances = Float32Array.from({ length: 6 * 16 }, (_, k) => Math.floor(k / 16)); // of frames 10 to 15
  assert.equal(covarianceAround(covariances, 10, 12, 1)[0], 1 + 2 + 3);
  assert.equal(covarianceAround(covariances, 10, 15, 2)[15], 3 + 4 + 5);
});

test("a ring is as wide as its beam, and goes over the seam and around the poles", () => {
  const { line, closed } = lineOf(circle({ azimuth: 90, elevation: 0 }, 30), SIZE);
  const xs = line.filter((_, k) => k % 2 === 0), ys = line.filter((_, k) => k % 2);
  assert.ok(closed);
  assert.ok(Math.abs(Math.min(...xs) - 60) < 0.1 && Math.abs(Math.max(...xs) - 120) < 0.1);
  assert.ok(Math.abs(Math.min(...ys) - 60) < 0.1 && Math.abs(Math.max(...ys) - 120) < 0.1);
  for (const azimuth of [180, -179]) {
    const { line: across } = lineOf(circle({ azimuth, elevation: 0 }, 30), SIZE);
    for (let k = 2; k < across.length; k += 2) assert.ok(Math.abs(across[k] - across[k - 2]) < 10);
  }
  assert.ok(!lineOf(circle({ azimuth: 0, elevation: 80 }, 30), SIZE).closed);
});

test("weights that adapt are drawn where they have fallen by 3 dB", () => {
  const at = { azimuth: 20, elevation: 0 };
  const [left] = contour(beamWeights("cardioid", 1, at), at); // 66° (docs/listening.md)
  assert.ok(Math.abs(left.azimuth - 86) < 1.1 && Math.abs(left.elevation) < 1e-6);
});

test("the side of a ring that is heard: inside, outside where it holds both poles, above or below around one", () => {
  const side = (at, angle) => sideOf(lineOf(circle(at, angle), SIZE), at, SIZE);
  for (const azimuth of [-180, -179.5, -90, 0, 38.4, 179.9]) {
    assert.equal(side({ azimuth, elevation: 10 }, 40), "in");
    assert.equal(side({ azimuth, elevation: 45 }, 55), "up");
    assert.equal(side({ azimuth, elevation: 90 }, 55), "up");
    assert.equal(side({ azimuth, elevation: -60 }, 55), "down");
    assert.equal(side({ azimuth, elevation: -90 }, 55), "down");
    assert.equal(side({ azimuth, elevation: 5 }, 120), "out");
    const line = lineOf(circle({ azimuth, elevation: 10 }, 40), SIZE);
    assert.equal(sideOf(line, { azimuth: azimuth + 41, elevation: 10 }, SIZE), "out");
    assert.equal(sideOf(line, { azimuth: azimuth + 38, elevation: 10 }, SIZE), "in");
  }
});
