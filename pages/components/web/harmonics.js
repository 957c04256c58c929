// @ts-check
// Spherical harmonics in the browser: real, ACN order, SN3D, as sai_core/listening has them; weights of beams, their
// width, turning. Degrees; azimuth grows to the left, elevation upwards.

/** @typedef {{azimuth: number, elevation: number}} Direction */
/** @typedef {number[] | Float32Array | Float64Array} Numbers */

const DEG = Math.PI / 180;

/** Names of the beams with a pattern of their own; `adaptive` follows the sound. */
export const BEAMS = ["max-re", "cardioid", "hypercardioid", "adaptive"];

/** Diffuse sound that an adaptive beam reckons with, against the power of W: as in beams.adaptive_weights. */
const LOADING = 0.3;

/** @param {number} n */
function factorial(n) {
  let product = 1;
  for (let k = 2; k <= n; k++) product *= k;
  return product;
}

/** Order of a harmonic. @param {number} index ACN. */
export function orderOf(index) {
  return Math.floor(Math.sqrt(index + 0.5));
}

const MOST = 4;
/** What Legendre functions are multiplied by, at n² + n + m; and where those of a degree begin. */
const SCALE = new Float64Array((MOST + 1) ** 2), FIRST = new Float64Array(MOST + 1);
for (let m = 0; m <= MOST; m++) {
  FIRST[m] = factorial(2 * m) / (2 ** m * factorial(m));
  for (let n = m; n <= MOST; n++) {
    SCALE[n * n + n + m] = Math.sqrt(((m ? 2 : 1) * factorial(n - m)) / factorial(n + m));
  }
}

/** Harmonics of a direction, (order + 1)² of them. @param {number} order Up to 4. @param {Direction} at */
export function harmonicsOf(order, { azimuth, elevation }) {
  const out = new Float64Array((order + 1) ** 2), z = Math.sin(elevation * DEG), r = Math.cos(elevation * DEG);
  for (let m = 0; m <= order; m++) {
    // associated Legendre functions without the Condon-Shortley phase, by degree upwards
    let before = 0, now = FIRST[m] * r ** m;
    const cosine = Math.cos(m * azimuth * DEG), sine = Math.sin(m * azimuth * DEG);
    for (let n = m; n <= order; n++) {
      const value = SCALE[n * n + n + m] * now;
      out[n * n + n + m] = value * cosine;
      if (m) out[n * n + n - m] = value * sine;
      [before, now] = [now, ((2 * n + 1) * z * now - (n + m) * before) / (n - m + 1)];
    }
  }
  return out;
}

/** Legendre polynomials 0 to `order` of a cosine. @param {number} order @param {number} x */
function legendre(order, x) {
  const out = [1, x];
  for (let n = 1; n < order; n++) out.push(((2 * n + 1) * x * out[n] - n * out[n - 1]) / (n + 1));
  return out.slice(0, order + 1);
}

/** Weight of each order, the first is 1. @param {string} beam @param {number} order */
export function orderWeights(beam, order) {
  const n = Array.from({ length: order + 1 }, (_, k) => k);
  if (beam === "hypercardioid") return n.map(() => 1);
  if (beam === "cardioid") {
    const top = factorial(order) * factorial(order + 1);
    return n.map((k) => top / (factorial(order + k + 1) * factorial(order - k)));
  }
  // the largest root of the next Legendre polynomial, by halving
  let low = Math.cos(Math.PI / (order + 1.5)), high = 1;
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (legendre(order + 1, middle)[order + 1] < 0) low = middle;
    else high = middle;
  }
  return legendre(order, (low + high) / 2);
}

/** Weights of the harmonics for a direction, in which a plane wave has gain 1. @param {string} beam */
export function beamWeights(beam, /** @type {number} */ order, /** @type {Direction} */ at) {
  const per = orderWeights(beam, order).map((g, n) => g * (2 * n + 1)), sum = per.reduce((a, b) => a + b, 0);
  return harmonicsOf(order, at).map((y, k) => (y * per[orderOf(k)]) / sum);
}

/** Solution of a set of linear equations, by elimination. @param {number[][]} matrix @param {number[][]} right */
export function solved(matrix, right) {
  const n = matrix.length, rows = matrix.map((row, k) => [...row, ...right[k]]);
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(rows[i][k]) > Math.abs(rows[best][k])) best = i;
    [rows[k], rows[best]] = [rows[best], rows[k]];
    for (let i = 0; i < n; i++) {
      if (i === k || !rows[i][k]) continue;
      const share = rows[i][k] / rows[k][k];
      for (let j = k; j < rows[i].length; j++) rows[i][j] -= share * rows[k][j];
    }
  }
  return rows.map((row, k) => row.slice(n).map((v) => v / row[k]));
}

/**
 * Weights that pass a direction unchanged and let through least of what sounded.
 * @param {Numbers} covariance Of the harmonics of order 1, 16 numbers. @param {Direction} at
 */
export function adaptiveWeights(covariance, at) {
  const aim = harmonicsOf(1, at), power = Math.max(covariance[0], 1e-20);
  const loaded = [0, 1, 2, 3].map((i) =>
    [0, 1, 2, 3].map((j) => covariance[4 * i + j] / power + (i === j ? LOADING / (i ? 3 : 1) : 0)),
  );
  const weights = solved(loaded, [...aim].map((v) => [v])).map(([v]) => v);
  const passed = weights.reduce((sum, w, k) => sum + w * aim[k], 0);
  return Float64Array.from(weights, (w) => w / passed);
}

/** @param {Direction} at @returns {[number, number, number]} Ahead, left, up. */
function vectorOf({ azimuth, elevation }) {
  const r = Math.cos(elevation * DEG);
  return [r * Math.cos(azimuth * DEG), r * Math.sin(azimuth * DEG), Math.sin(elevation * DEG)];
}

/** @param {number[]} vector @returns {Direction} */
function directionOf([x, y, z]) {
  return { azimuth: Math.atan2(y, x) / DEG, elevation: Math.atan2(z, Math.hypot(x, y)) / DEG };
}

/** A direction at an angle from another, towards a bearing. */
function beside(/** @type {Direction} */ at, /** @type {number} */ bearing, /** @type {number} */ angle) {
  const a = at.azimuth * DEG, e = at.elevation * DEG, front = vectorOf(at);
  const left = [-Math.sin(a), Math.cos(a), 0];
  const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
  const c = Math.cos(angle * DEG), s = Math.sin(angle * DEG);
  const l = s * Math.cos(bearing * DEG), u = s * Math.sin(bearing * DEG);
  return directionOf(front.map((f, k) => c * f + l * left[k] + u * up[k]));
}

const BEARINGS = 72, WIDEST = 150;

/** Directions at an angle all around. @param {Direction} at @param {number} angle @returns {Direction[]} */
export function circle(at, angle) {
  return Array.from({ length: BEARINGS }, (_, k) => beside(at, (k * 360) / BEARINGS, angle));
}

/** Where weights of order 1 have fallen by 3 dB, on every bearing. @param {Numbers} weights @param {Direction} at */
export function contour([w, y, z, x], at) {
  const front = vectorOf(at);
  return Array.from({ length: BEARINGS }, (_, k) => {
    const bearing = (k * 360) / BEARINGS, aside = vectorOf(beside(at, bearing, 90));
    const ahead = x * front[0] + y * front[1] + z * front[2], across = x * aside[0] + y * aside[1] + z * aside[2];
    let angle = 1;
    while (angle < WIDEST && w + ahead * Math.cos(angle * DEG) + across * Math.sin(angle * DEG) > Math.SQRT1_2) angle++;
    return beside(at, bearing, angle);
  });
}

/**
 * Line through directions on the canvas: x goes on beyond the seam rather than back to the other side.
 * @param {Direction[]} directions @param {import("./geometry.js").Size} size
 * @returns {{line: Float32Array, closed: boolean}} `closed`: it goes around no pole.
 */
export function lineOf(directions, { width, height }) {
  const line = new Float32Array(2 * directions.length + 2);
  let last = 0;
  [...directions, directions[0]].forEach(({ azimuth, elevation }, k) => {
    let x = ((180 - azimuth) / 360) * width;
    if (k) x += Math.round((last - x) / width) * width;
    line[2 * k] = last = x;
    line[2 * k + 1] = ((90 - elevation) / 180) * height;
  });
  return { line, closed: Math.abs(last - line[0]) < width / 2 };
}

/**
 * On which side of a line on the canvas a direction lies: inside or outside of a closed one, above or below one that
 * goes around a pole.
 * @param {{line: Float32Array, closed: boolean}} ring As from `lineOf`.
 * @param {Direction} at @param {import("./geometry.js").Size} size
 * @returns {"in" | "out" | "up" | "down"}
 */
export function sideOf({ line, closed }, { azimuth, elevation }, { width, height }) {
  const x = ((180 - azimuth) / 360) * width, y = ((90 - elevation) / 180) * height;
  let above = 0; // crossings on the way up
  for (let i = 2; i < line.length; i += 2) {
    const [x0, y0, x1, y1] = line.subarray(i - 2, i + 2);
    for (let k = -2; k <= 2; k++) {
      const at = x + k * width;
      if (x0 <= at !== x1 <= at && y0 + ((at - x0) / (x1 - x0)) * (y1 - y0) < y) above += 1;
    }
  }
  if (closed) return above % 2 ? "in" : "out";
  return above % 2 ? "down" : "up";
}

/** A direction as a turned head has it: yaw to the left, then pitch upwards. @param {Direction} at */
export function turned(at, /** @type {number} */ yaw, /** @type {number} */ pitch) {
  const [x, y, z] = vectorOf({ azimuth: at.azimuth - yaw, elevation: at.elevation });
  const c = Math.cos(pitch * DEG), s = Math.sin(pitch * DEG);
  return directionOf([c * x + s * z, y, c * z - s * x]);
}

/** Directions all over the sphere, enough for harmonics up to order 4. @type {Direction[]} */
const SPREAD = Array.from({ length: 60 }, (_, k) => ({
  azimuth: (k * 180 * (3 - Math.sqrt(5))) % 360,
  elevation: Math.asin(1 - (2 * k + 1) / 60) / DEG,
}));

/**
 * Harmonics from their values in those directions, by order: (directions, harmonics).
 * @type {Map<number, number[][]>}
 */
const fits = new Map();

/** @param {number} order */
function fitOf(order) {
  const known = fits.get(order);
  if (known) return known;
  const seen = SPREAD.map((at) => harmonicsOf(order, at)), n = Array.from({ length: (order + 1) ** 2 }, (_, k) => k);
  const gram = n.map((i) => n.map((j) => seen.reduce((sum, y) => sum + y[i] * y[j], 0)));
  const inverse = solved(gram, n.map((i) => n.map((j) => Number(i === j))));
  const fit = seen.map((y) => n.map((j) => n.reduce((sum, i) => sum + y[i] * inverse[i][j], 0)));
  fits.set(order, fit);
  return fit;
}

/**
 * Matrix from harmonics to those that a turned head hears, by rows; within each order.
 * @param {number} order @param {number} yaw @param {number} pitch
 */
export function rotation(order, yaw, pitch) {
  const n = (order + 1) ** 2, fit = fitOf(order), rows = Array.from({ length: n }, () => new Float64Array(n));
  SPREAD.forEach((at, d) => {
    const after = harmonicsOf(order, turned(at, yaw, pitch));
    for (let i = 0; i < n; i++) {
      const l = orderOf(i);
      for (let j = l * l; j < (l + 1) ** 2; j++) rows[i][j] += after[i] * fit[d][j];
    }
  });
  return rows;
}

/**
 * Sum of the covariances of the frames around one.
 * @param {Float32Array} covariance Of frames from `first` on, 16 numbers each.
 * @param {number} first @param {number} frame @param {number} around Frames to each side.
 */
export function covarianceAround(covariance, first, frame, around) {
  const sum = new Float64Array(16);
  for (let k = frame - around; k <= frame + around; k++) {
    const at = (k - first) * 16;
    if (at < 0 || at + 16 > covariance.length) continue;
    for (let i = 0; i < 16; i++) sum[i] += covariance[at + i];
  }
  return sum;
}
