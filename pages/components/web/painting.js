// @ts-check
// From energies, 0 to 255, to coloured pixels. Pixels are 32-bit, little endian: alpha, blue, green, red.

import { PATCH_FIELDS } from "./protocol.js";

/**
 * @typedef {import("./geometry.js").Size} Size
 * @typedef {object} Lattice  Acoustic maps of a block of frames.
 * @property {Uint8Array} values  Frame after frame, band after band, point after point: levels, 255 for the loudest of
 *   the recording, 0 for nothing.
 * @property {number} step_db  Decibels of a level.
 * @property {number} ceiling_db  What 255 stands for.
 * @property {Record<string, number>} references_db  0 dB of the picture for each way of putting bands together.
 * @property {number} start
 * @property {number} stop
 * @property {number} points
 * @property {number} bands
 */

/** Colour table from hex digits rrggbb... @param {string} hex */
export function lutPixels(hex) {
  const out = new Uint32Array(hex.length / 6);
  for (let i = 0; i < out.length; i++) {
    const v = parseInt(hex.slice(i * 6, i * 6 + 6), 16);
    out[i] = (0xff000000 | ((v & 255) << 16) | (v & 0xff00) | (v >> 16)) >>> 0;
  }
  return out;
}

/** A class colour over dark maps: they are made for the page, and drawn lighter there. @param {string} hex */
export function brighten(hex) {
  const c = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgb(${c.map((v) => Math.round(v + (255 - v) * 0.38)).join(",")})`;
}

/** A canvas that is filled pixel by pixel. */
export class Raster {
  /** @param {Size} size */
  constructor({ width, height }) {
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
    this.ctx = this.canvas.getContext("2d");
    this.image = this.ctx.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  flush() {
    this.ctx.putImageData(this.image, 0, 0);
  }
}

/**
 * Maximum of chosen patches of a frame; gives the peak.
 * @param {import("./protocol.js").Block} block @param {number} frame @param {number} table
 * @param {(row: number) => boolean} accept @param {Uint8Array} field Canvas, filled here. @param {number} width
 */
export function compose(block, frame, table, accept, field, width) {
  field.fill(0);
  let peak = 0;
  const a = block.patches, values = block.values;
  for (const p of block.frames[frame - block.start]) {
    const q = p * PATCH_FIELDS;
    if (a[q] !== table || !accept(a[q + 1])) continue;
    const x0 = a[q + 3], y0 = a[q + 4], w = a[q + 5], h = a[q + 6];
    let i = a[q + 7];
    for (let y = 0; y < h; y++) {
      const base = (y0 + y) * width;
      for (let x = 0; x < w; x++, i++) {
        const v = values[i];
        let c = x0 + x;
        if (c >= width) c -= width;
        if (v > field[base + c]) {
          field[base + c] = v;
          if (v > peak) peak = v;
        }
      }
    }
  }
  return peak;
}

/**
 * Energies as colours.
 * @param {Uint32Array} out @param {Uint8Array} field @param {Uint32Array} lut @param {number} gain
 */
export function paintEnergy(out, field, lut, gain) {
  for (let i = 0; i < field.length; i++) out[i] = lut[gain === 1 ? field[i] : (field[i] * gain + 0.5) | 0];
}

/**
 * Prediction minus label; the middle of the table is no difference.
 * @param {Uint32Array} out @param {Uint8Array} label @param {Uint8Array} prediction @param {Uint32Array} lut
 * @param {number} labelGain @param {number} predictionGain
 */
export function paintResidual(out, label, prediction, lut, labelGain, predictionGain) {
  const scale = 127 / 255;
  for (let i = 0; i < label.length; i++) {
    out[i] = lut[Math.round(127 + (prediction[i] * predictionGain - label[i] * labelGain) * scale)];
  }
}

/** @param {number} colour @param {number} alpha In [0, 1]. */
function withAlpha(colour, alpha) {
  return ((colour & 0xffffff) | (Math.round(255 * alpha) << 24)) >>> 0;
}

/**
 * Energies to lay over a picture: faint ones fade in, so that the picture stays visible around a region.
 * @param {Uint32Array} out @param {Uint8Array} field @param {Uint32Array} lut @param {number} gain
 * @param {number} opacity
 */
export function paintOver(out, field, lut, gain, opacity, fade = true) {
  for (let i = 0; i < field.length; i++) {
    const v = (field[i] * gain + 0.5) | 0;
    out[i] = v ? withAlpha(lut[v], opacity * (fade ? Math.min(1, 0.25 + v / 110) : 1)) : 0;
  }
}

/** Value of a lattice point over its bands: `max`, `median`, or the number of one band. */
export function overBands(/** @type {number[]} */ values, /** @type {string} */ mode) {
  if (mode === "max") return Math.max(...values);
  if (mode === "median") return [...values].sort((a, b) => a - b)[values.length >> 1];
  return values[Number(mode)];
}

/** Where every frame has its own scale it is lifted by so much at most: what is left of a silence stays dark. */
export const MOST_LIFT_DB = 40;
const THIRDS = ["low", "mid", "high"];

/**
 * Levels of a frame over its bands, a byte for each point.
 * @param {Lattice} lattice @param {number} frame @param {string} name `max`, `median`, a band's number, or a third.
 */
export function latticeLevels(lattice, frame, name) {
  const { points, bands, values } = lattice, base = (frame - lattice.start) * bands * points, third = bands / 3;
  const k = THIRDS.indexOf(name), [from, to] = k < 0 ? [0, bands] : [k * third, (k + 1) * third];
  const out = new Uint8Array(points), each = new Array(to - from);
  for (let n = 0; n < points; n++) {
    for (let b = from; b < to; b++) each[b - from] = values[base + b * points + n];
    out[n] = overBands(each, k < 0 ? name : "max");
  }
  return out;
}

/**
 * The level that is 0 dB: the recording's reference, or the frame's own peak.
 * @param {Lattice} lattice @param {string} name @param {Uint8Array} levels Of the frame. @param {boolean} fixed
 */
export function latticeTop(lattice, name, levels, fixed) {
  const reference = 255 - (lattice.ceiling_db - lattice.references_db[name]) / lattice.step_db;
  if (fixed) return reference;
  return Math.max(levels.reduce((peak, v) => Math.max(peak, v), 0), reference - MOST_LIFT_DB / lattice.step_db);
}

/**
 * Acoustic maps of the lattice through the table that says which point each pixel shows. What is below the range is not
 * drawn at all.
 * @param {Uint32Array} out @param {Lattice} lattice
 * @param {number} frame @param {Uint16Array} index
 * @param {{lut: Uint32Array, mode: string, fixed: boolean, rangeDb: number, opacity: number, fade?: boolean}} style
 *   `fixed`: one scale for the recording; `fade`: over a picture, which faint levels let through.
 */
export function paintLattice(out, lattice, frame, index, { lut, mode, fixed, rangeDb, opacity, fade = true }) {
  const { points } = lattice, span = rangeDb / lattice.step_db;
  const colours = new Uint32Array(points).fill(fade ? 0 : lut[0]);
  const shown = (mode === "rgb" ? THIRDS : [mode]).map((name) => {
    const levels = latticeLevels(lattice, frame, name), top = latticeTop(lattice, name, levels, fixed);
    return Uint8Array.from(levels, (v) => (v ? 255 * Math.min(Math.max((v - top) / span + 1, 0), 1) : 0));
  });
  for (let n = 0; n < points; n++) {
    const values = shown.map((part) => part[n]), v = Math.max(...values);
    if (!v) continue;
    const colour = mode === "rgb" ? (values[2] << 16) | (values[1] << 8) | values[0] : lut[v];
    colours[n] = withAlpha(colour, opacity * (fade ? Math.min(1, v / 160) : 1));
  }
  for (let i = 0; i < out.length; i++) out[i] = colours[index[i]];
}

/**
 * Level picture as a canvas, low frequencies at the bottom.
 * @param {Uint8Array} values One column after another. @param {number} columns @param {number} bins
 * @param {Uint32Array} lut
 */
export function levelPicture(values, columns, bins, lut) {
  const raster = new Raster({ width: columns, height: bins });
  for (let k = 0; k < columns; k++) {
    for (let b = 0; b < bins; b++) raster.pixels[(bins - 1 - b) * columns + k] = lut[values[k * bins + b]];
  }
  raster.flush();
  return raster.canvas;
}
