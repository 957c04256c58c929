// @ts-check
// Shapes that a reviewer draws, as lines of the canvas, whichever view they are drawn in and shown in.

import { clamp, shortest, wrap } from "./geometry.js";

/**
 * @typedef {import("./erp_view.js").Place} Place
 * @typedef {import("./geometry.js").Size} Size
 * @typedef {object} Shape  As the server takes it, but for `line`.
 * @property {string} shape
 * @property {number[]} [box]
 * @property {number[][]} [points]
 * @property {number} [radius]
 * @property {number} [energy]
 * @property {number[][]} [line]  A lasso around a pole as it was drawn; its `points` have the pole's row, too.
 */

const CORNERS = 40; // of a brush's disc

/** Box between two places, at most all columns; `[left, top, right, bottom]`, left > right over the seam. */
export function boxOf(/** @type {Place} */ a, /** @type {Place} */ b, /** @type {number} */ width) {
  const left = Math.min(a.rawX, b.rawX), right = Math.max(a.rawX, b.rawX);
  const end = right - left >= width - 1 ? left + width - 1 : right;
  return [wrap(left, width), Math.min(a.y, b.y), wrap(end, width), Math.max(a.y, b.y)];
}

/** Points as a line whose columns go on over the seam. @param {number[][]} points @param {Size} size */
export function unwrapped(points, { width }) {
  const line = new Float32Array(2 * points.length);
  let x = points[0][0];
  points.forEach(([px, py], k) => {
    x += shortest(px - x, width);
    line[2 * k] = x;
    line[2 * k + 1] = py;
  });
  return line;
}

/**
 * Points of a lasso that was drawn on the sphere, as a line of the canvas around the same pixels: one around a pole is
 * closed along the pole's row, where it has no end on the canvas.
 * @param {number[][]} points @param {number} pole  Row of the pole that may lie inside.
 * @param {Size} size
 */
export function enclosed(points, pole, size) {
  const line = unwrapped(points, size), turn = Math.round((line[line.length - 2] - line[0]) / size.width);
  if (!turn) return points;
  const [x, y] = points[0], steps = 4 * Math.abs(turn); // none of them half the canvas, whose way would be open
  const column = (/** @type {number} */ k) => wrap(x - (turn * size.width * k) / steps, size.width);
  const back = Array.from({ length: steps + 1 }, (_, k) => [column(k), pole]);
  return [...points, [x, y], ...back];
}

/** The edge of a box or lasso. @param {Shape} shape @param {Size} size @param {boolean} onSphere */
export function edgeLine({ shape, box, points, line }, size, onSphere) {
  if (shape === "lasso") return unwrapped((onSphere && line) || points, size);
  const [x0, y0, x1, y1] = box, left = Math.floor(x0), top = Math.floor(y0);
  const right = Math.floor(x1 < x0 ? x1 + size.width : x1) + 1, bottom = Math.floor(Math.min(y1, size.height - 1)) + 1;
  return Float32Array.of(left, top, right, top, right, bottom, left, bottom);
}

/**
 * What a brush covers in one place: a disc of the canvas.
 * @param {number} x @param {number} y @param {number} r Its radius. @param {Size} size
 */
export function discAt(x, y, r, size) {
  const line = new Float32Array(2 * CORNERS);
  for (let k = 0; k < CORNERS; k++) {
    const a = (2 * Math.PI * k) / CORNERS;
    line[2 * k] = x + r * Math.cos(a);
    line[2 * k + 1] = clamp(y + r * Math.sin(a), 0, size.height);
  }
  return line;
}

/** Discs that cover a stroke. @param {number[][]} points @param {number} radius @param {Size} size */
export function discsOf(points, radius, size) {
  const line = unwrapped(points, size), step = Math.max(radius / 3, 0.7);
  const discs = [discAt(line[0], line[1], radius, size)];
  for (let k = 2; k < line.length; k += 2) {
    const dx = line[k] - line[k - 2], dy = line[k + 1] - line[k - 1], n = Math.ceil(Math.hypot(dx, dy) / step);
    for (let i = 1; i <= n; i++) {
      discs.push(discAt(line[k - 2] + (dx * i) / n, line[k - 1] + (dy * i) / n, radius, size));
    }
  }
  return discs;
}

/**
 * A move that stops where a region reaches the canvas's edge, up and down.
 * @param {{dx: number, dy: number}} shift @param {Float32Array[]} lines @param {Size} size
 */
export function heldInside({ dx, dy }, lines, size) {
  let low = Infinity, high = -Infinity;
  for (const line of lines) {
    for (let i = 1; i < line.length; i += 2) {
      low = Math.min(low, line[i]);
      high = Math.max(high, line[i]);
    }
  }
  return { dx, dy: clamp(dy, -Math.max(low, 0), Math.max(size.height - high, 0)) };
}
