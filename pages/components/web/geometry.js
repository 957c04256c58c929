// @ts-check
// The equirectangular canvas in the browser: x in [0, width) to the right, y down; azimuth grows to the left.

/**
 * @typedef {{width: number, height: number}} Size  Columns and rows of the canvas.
 * @typedef {{x: number, y: number, z: number}} Camera  Canvas point in the middle, and how often the whole fits in.
 * @typedef {{x: number, y: number}} Point
 */

/** A value brought into [0, size). @param {number} value @param {number} size */
export function wrap(value, size) {
  return ((value % size) + size) % size;
}

/** @param {number} value @param {number} low @param {number} high */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Azimuth in [-180, 180) and elevation of a canvas point, degrees. @param {Point} point @param {Size} size */
export function direction({ x, y }, size) {
  return { azimuth: wrap(360 - (x / size.width) * 360, 360) - 180, elevation: 90 - (y / size.height) * 180 };
}

/** Canvas point of a direction in degrees. @param {number} azimuth @param {number} elevation @param {Size} size */
export function pointOf(azimuth, elevation, size) {
  return { x: (wrap(180 - azimuth, 360) / 360) * size.width, y: ((90 - elevation) / 180) * size.height };
}

/**
 * Great-circle angle between two directions, degrees.
 * @param {{azimuth: number, elevation: number}} a @param {{azimuth: number, elevation: number}} b
 */
export function angleBetween(a, b) {
  const rad = Math.PI / 180, ea = a.elevation * rad, eb = b.elevation * rad;
  const cosine = Math.sin(ea) * Math.sin(eb) + Math.cos(ea) * Math.cos(eb) * Math.cos((a.azimuth - b.azimuth) * rad);
  return Math.acos(clamp(cosine, -1, 1)) / rad;
}

/** The way from one column to another that does not go around: in [-width / 2, width / 2). */
export function shortest(/** @type {number} */ dx, /** @type {number} */ width) {
  return wrap(dx + width / 2, width) - width / 2;
}

/**
 * Whether a value of a patch is above zero under a point; patches may lie across the seam.
 * @param {{x0: number, y0: number, w: number, h: number, offset: number}} patch
 * @param {Uint8Array} values @param {Point} at @param {number} width
 * @returns {number} The value, 0 outside the patch.
 */
export function valueAt(patch, values, at, width) {
  const column = wrap(Math.floor(at.x) - patch.x0, width), row = Math.floor(at.y) - patch.y0;
  const inside = column < patch.w && row >= 0 && row < patch.h;
  return inside ? values[patch.offset + row * patch.w + column] : 0;
}

/**
 * Zoom about a point, which keeps its place on the screen.
 * @param {Camera} camera @param {number} factor @param {{x: number, y: number} | null} at @param {number} most
 * @param {Size} size
 */
export function zoomed(camera, factor, at, most, size) {
  const z = clamp(camera.z * factor, 1, most), keep = 1 - camera.z / z;
  if (!at) return { ...camera, z };
  return { x: camera.x + shortest(at.x - camera.x, size.width) * keep, y: camera.y + (at.y - camera.y) * keep, z };
}

/** A camera that shows nothing beyond the poles. @param {Camera} camera @param {number} half Rows from the middle to
 * the edge of what is seen. @param {Size} size */
export function settled(camera, half, size) {
  const y = half >= size.height / 2 ? size.height / 2 : clamp(camera.y, half, size.height - half);
  return { x: wrap(camera.x, size.width), y, z: camera.z };
}
