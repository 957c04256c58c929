// @ts-check
// Where one looks from inside the sphere: the perspective between directions and the pixels of a view, both ways.
//
// A gaze is what is straight ahead and how much is seen. Directions are those of the canvas: azimuth grows to the left,
// elevation upwards. As vectors: x to the front (azimuth 0), y to the left (azimuth 90), z up.

import { clamp, shortest, wrap } from "./geometry.js";

/**
 * @typedef {{yaw: number, pitch: number, fov: number}} Gaze  Degrees: azimuth in [-180, 180) and elevation of what is
 *   straight ahead; the field of view across the longer side of the view.
 */

/** Field of view, degrees. */
export const FOV = { least: 30, usual: 90, most: 120 };

/** @returns {Gaze} Straight ahead. */
export function ahead() {
  return { yaw: 0, pitch: 0, fov: FOV.usual };
}

/** A gaze within its limits; up and down end at the poles. @param {Gaze} gaze @returns {Gaze} */
export function settledGaze({ yaw, pitch, fov }) {
  return { yaw: wrap(yaw + 180, 360) - 180, pitch: clamp(pitch, -90, 90), fov: clamp(fov, FOV.least, FOV.most) };
}

/** A gaze as words of the address. @param {Gaze} gaze */
export function writtenGaze({ yaw, pitch, fov }) {
  return [yaw, pitch, fov].map((v) => Number(v.toFixed(1)) + 0).join("*");
}

/** The gaze that an address names, or null. @param {string} words @returns {Gaze | null} */
export function readGaze(words) {
  const [yaw, pitch, fov] = words.split("*").map((word) => (word.trim() ? Number(word) : NaN));
  return [yaw, pitch, fov].every(Number.isFinite) ? settledGaze({ yaw, pitch, fov }) : null;
}

/** @param {number} degrees */
function radians(degrees) {
  return (degrees * Math.PI) / 180;
}

/**
 * Unit vector of a canvas point. @param {number} x @param {number} y @param {import("./geometry.js").Size} size
 * @returns {[number, number, number]}
 */
export function vectorAt(x, y, { width, height }) {
  const azimuth = Math.PI - (x / width) * 2 * Math.PI, elevation = Math.PI / 2 - (y / height) * Math.PI;
  const level = Math.cos(elevation);
  return [level * Math.cos(azimuth), level * Math.sin(azimuth), Math.sin(elevation)];
}

/** Canvas point of a vector. @param {ArrayLike<number>} v @param {import("./geometry.js").Size} size */
export function pointAlong(v, { width, height }) {
  const azimuth = Math.atan2(v[1], v[0]), elevation = Math.atan2(v[2], Math.hypot(v[0], v[1]));
  return { x: wrap(0.5 - azimuth / (2 * Math.PI), 1) * width, y: (0.5 - elevation / Math.PI) * height };
}

/** What a gaze shows in a view of some pixels. */
export class Perspective {
  /** @param {Gaze} gaze @param {number} width @param {number} height */
  constructor({ yaw, pitch, fov }, width, height) {
    const a = radians(yaw), e = radians(pitch);
    const [ca, sa, ce, se] = [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)];
    this.right = [sa, -ca, 0];
    this.up = [-se * ca, -se * sa, ce];
    this.front = [ce * ca, ce * sa, se];
    this.width = width;
    this.height = height;
    /** Pixels from the eye to the view. */
    this.focal = Math.max(width, height) / 2 / Math.tan(radians(fov) / 2);
  }

  /** How far in front of the eye a vector lies; not in sight at zero and below. @param {ArrayLike<number>} v */
  depth(v) {
    return v[0] * this.front[0] + v[1] * this.front[1] + v[2] * this.front[2];
  }

  /** Pixel of a vector in front of the eye. @param {ArrayLike<number>} v */
  project(v) {
    const { right, up, focal } = this, d = this.depth(v);
    return {
      x: this.width / 2 + (focal * (v[0] * right[0] + v[1] * right[1] + v[2] * right[2])) / d,
      y: this.height / 2 - (focal * (v[0] * up[0] + v[1] * up[1] + v[2] * up[2])) / d,
    };
  }

  /** Unit vector of a pixel. @param {number} px @param {number} py */
  along(px, py) {
    const { right, up, front, focal } = this, x = (px - this.width / 2) / focal, y = (this.height / 2 - py) / focal;
    const n = Math.hypot(x, y, 1);
    return [0, 1, 2].map((i) => (x * right[i] + y * up[i] + front[i]) / n);
  }

  /** Whether a vector lies within the view. @param {ArrayLike<number>} v */
  sees(v) {
    if (this.depth(v) <= NEAR) return false;
    const { x, y } = this.project(v);
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }
}

/**
 * The gaze that has a vector under a pixel: what was taken hold of stays under the pointer. Close to the poles, where
 * looking up or down cannot bring it there without tilting the head, its azimuth stays.
 * @param {Gaze} gaze @param {number} width @param {number} height @param {ArrayLike<number>} v
 * @param {number} px @param {number} py @returns {Gaze}
 */
export function dragged(gaze, width, height, v, px, py) {
  // along the pixel with the head upright and azimuth 0 ahead: c = (front, left, up)
  const [front, left, up] = new Perspective({ ...gaze, yaw: 0, pitch: 0 }, width, height).along(px, py);
  // sin(elevation) = front sin(pitch) + up cos(pitch) = most sin(pitch + lift): two ways, or none
  const most = Math.hypot(front, up), lift = Math.atan2(up, front), rise = Math.asin(clamp(v[2] / most, -1, 1));
  const ways = [rise - lift, Math.PI - rise - lift].map((p) => wrap((p * 180) / Math.PI + 180, 360) - 180);
  const near = ways.map((p) => clamp(p, -90, 90)).sort((a, b) => Math.abs(a - gaze.pitch) - Math.abs(b - gaze.pitch));
  const pitch = near[0], e = radians(pitch);
  const level = front * Math.cos(e) - up * Math.sin(e);
  const yaw = ((Math.atan2(v[1], v[0]) - Math.atan2(left, level)) * 180) / Math.PI;
  return settledGaze({ yaw, pitch, fov: gaze.fov });
}

/** Least depth that is drawn, of 1. */
const NEAR = 0.05;
/** Longest step of a line of the canvas that is drawn straight, degrees. */
const STEP = 2;

/**
 * @typedef {{xyz: Float32Array, closed: boolean}} Line  On the sphere: vectors, three numbers each.
 */

/**
 * An outline of the canvas on the sphere. One that goes all the way around is no rectangle there: its sides at the seam
 * are the same meridian, and its row at a pole is a point.
 * @param {ArrayLike<number>} outline  x and y in turn, a closed line; x may go on over the seam.
 * @param {import("./geometry.js").Size} size @returns {Line[]}
 */
export function onSphere(outline, size) {
  const n = outline.length / 2;
  let least = Infinity, most = -Infinity;
  for (let i = 0; i < n; i++) {
    least = Math.min(least, outline[2 * i]);
    most = Math.max(most, outline[2 * i]);
  }
  const points = Array.from({ length: n }, (_, i) => [outline[2 * i], outline[2 * i + 1]]);
  if (most - least < size.width - 1.01) return [{ xyz: vectors(points, true, size), closed: true }];
  // number of the side, or of the pole, on which a point lies
  const side = (/** @type {number[]} */ [x]) => (x - least < 0.01 ? 1 : most - x < 0.01 ? 2 : 0);
  const pole = (/** @type {number[]} */ [, y]) => (y < 0.51 ? 1 : y > size.height - 0.51 ? 2 : 0);
  const drop = (a, b) => (side(a) && side(a) === side(b)) || (pole(a) && pole(a) === pole(b));
  const first = points.findIndex((a, i) => drop(a, points[(i + 1) % n]));
  if (first < 0) return [{ xyz: vectors(points, true, size), closed: true }];
  /** @type {Line[]} */
  const lines = [];
  /** @type {number[][]} */
  let piece = [];
  for (let k = 1; k <= n; k++) {
    const a = points[(first + k) % n];
    piece.push(a);
    if (!drop(a, points[(first + k + 1) % n])) continue;
    if (piece.length > 1) {
      const ends = [side(piece[0]), side(a)].sort().join("");
      lines.push({ xyz: vectors(piece, ends === "12", size), closed: ends === "12" });
    }
    piece = [];
  }
  return lines;
}

/** @param {number[][]} points @param {boolean} closed @param {import("./geometry.js").Size} size */
function vectors(points, closed, size) {
  /** @type {number[]} */
  const out = [];
  const n = points.length, { width } = size;
  for (let i = 0; i < n; i++) {
    const a = points[i], b = i + 1 < n ? points[i + 1] : closed ? points[0] : a;
    let dx = b[0] - a[0];
    if (i + 1 === n && closed && Math.abs(dx) > width / 2) dx -= Math.sign(dx) * width; // across the seam
    const dy = b[1] - a[1], step = (STEP * width) / 360;
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(dx), Math.abs(dy)) / step));
    for (let k = 0; k < steps; k++) {
      const v = vectorAt(a[0] + (dx * k) / steps, a[1] + (dy * k) / steps, size);
      out.push(v[0], v[1], v[2]);
    }
  }
  return Float32Array.from(out);
}

/** A line through given directions. @param {[number, number][]} directions Azimuth and elevation, degrees. */
export function lineThrough(directions) {
  return Float32Array.from(
    directions.flatMap(([azimuth, elevation]) => {
      const a = radians(azimuth), e = radians(elevation);
      return [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    }),
  );
}

/**
 * A line as pixels: the parts of it that are in front of the eye. A line that is there as a whole stays closed.
 * @param {Line} line @param {Perspective} view @returns {{xy: number[], closed: boolean}[]}
 */
export function inView({ xyz, closed }, view) {
  const n = xyz.length / 3, depths = new Float64Array(n), { front, right, up, focal, width, height } = view;
  let hidden = -1;
  for (let i = 0; i < n; i++) {
    depths[i] = xyz[3 * i] * front[0] + xyz[3 * i + 1] * front[1] + xyz[3 * i + 2] * front[2];
    if (depths[i] < NEAR && hidden < 0) hidden = i;
  }
  // a point between two of the line's, in front of the eye
  const put = (/** @type {number[]} */ xy, /** @type {number} */ i, j = i, t = 0) => {
    const x = xyz[3 * i] + t * (xyz[3 * j] - xyz[3 * i]), y = xyz[3 * i + 1] + t * (xyz[3 * j + 1] - xyz[3 * i + 1]);
    const z = xyz[3 * i + 2] + t * (xyz[3 * j + 2] - xyz[3 * i + 2]), d = depths[i] + t * (depths[j] - depths[i]);
    xy.push(
      width / 2 + (focal * (x * right[0] + y * right[1] + z * right[2])) / d,
      height / 2 - (focal * (x * up[0] + y * up[1] + z * up[2])) / d,
    );
  };
  /** @type {number[]} */
  let xy = [];
  if (hidden < 0) {
    for (let i = 0; i < n; i++) put(xy, i);
    return [{ xy, closed }];
  }
  const from = closed ? hidden : 0, edges = closed ? n : n - 1, parts = [];
  if (depths[from] >= NEAR) put(xy, from);
  for (let k = 0; k < edges; k++) {
    const i = (from + k) % n, j = (i + 1) % n, a = depths[i], b = depths[j];
    if (a < NEAR && b < NEAR) continue;
    if (a < NEAR) put(xy, i, j, (NEAR - a) / (b - a));
    if (b >= NEAR) put(xy, j);
    else {
      put(xy, i, j, (NEAR - a) / (b - a));
      parts.push({ xy, closed: false });
      xy = [];
    }
  }
  if (xy.length > 2) parts.push({ xy, closed: false });
  return parts;
}

/**
 * The edge of a view on the canvas.
 * @param {Perspective} view @param {import("./geometry.js").Size} size
 * @returns {{line: Float32Array, closed: boolean, from: number, to: number}}  Not closed around a pole: there it goes
 *   over all columns. `from`, `to`: its first and last column.
 */
export function edgeOf(view, size) {
  const { width: w, height: h } = view, corners = [[0, 0], [w, 0], [w, h], [0, h], [0, 0]];
  const between = (/** @type {number[]} */ a, /** @type {number[]} */ b, /** @type {number} */ t) =>
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
  /** @type {number[]} */
  const line = [];
  const add = (/** @type {number[]} */ from, /** @type {number[]} */ to, /** @type {number} */ left) => {
    const at = pointAlong(view.along(to[0], to[1]), size), before = line.length - 2;
    if (before < 0) {
      line.push(at.x, at.y);
      return;
    }
    const dx = shortest(at.x - line[before], size.width);
    if (left && Math.hypot(dx, at.y - line[before + 1]) > (4 * size.width) / 360) {
      const middle = between(from, to, 0.5);
      add(from, middle, left - 1);
      add(middle, to, left - 1);
    } else line.push(line[before] + dx, at.y);
  };
  add(corners[0], corners[0], 0);
  for (let k = 0; k < 4; k++) {
    const [a, b] = [corners[k], corners[k + 1]];
    for (let i = 0; i < 8; i++) add(between(a, b, i / 8), between(a, b, (i + 1) / 8), 7);
  }
  const columns = line.filter((_, i) => i % 2 === 0);
  const closed = Math.abs(line[line.length - 2] - line[0]) < size.width / 2;
  return { line: Float32Array.from(line), closed, from: Math.min(...columns), to: Math.max(...columns) };
}
