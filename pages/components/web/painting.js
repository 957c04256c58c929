// @ts-check
// From energies, 0 to 255, to coloured pixels. Pixels are 32-bit, little endian: alpha, blue, green, red.

import { PATCH_FIELDS } from "./protocol.js";

/**
 * @typedef {import("./geometry.js").Size} Size
 * @typedef {object} Lattice  Acoustic maps of a block of frames.
 * @property {Uint8Array} values  Frame after frame, band after band, point after point.
 * @property {Float32Array} loudness  Of each frame, relative to the recording's loudest.
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

/**
 * Acoustic maps of the lattice through the table that says which point each pixel shows.
 * @param {Uint32Array} out @param {Lattice} lattice
 * @param {number} frame @param {Uint16Array} index
 * @param {{lut: Uint32Array, mode: string, fixed: boolean, opacity: number}} style `fixed`: a quiet frame stays quiet.
 */
export function paintLattice(out, lattice, frame, index, { lut, mode, fixed, opacity }) {
  const { points, bands, values } = lattice, k = frame - lattice.start, base = k * bands * points;
  const gain = fixed ? lattice.loudness[k] : 1, third = bands / 3;
  const colours = new Uint32Array(points), each = new Array(bands);
  for (let n = 0; n < points; n++) {
    for (let b = 0; b < bands; b++) each[b] = values[base + b * points + n] * gain;
    if (mode === "rgb") {
      const mean = (/** @type {number} */ from) => each.slice(from, from + third).reduce((s, v) => s + v, 0) / third;
      const r = mean(0), g = mean(third), b = mean(2 * third);
      const colour = (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
      colours[n] = withAlpha(colour, opacity * Math.min(1, Math.max(r, g, b) / 140));
      continue;
    }
    const v = Math.min(255, Math.round(overBands(each, mode)));
    colours[n] = withAlpha(lut[v], opacity * Math.min(1, 0.1 + v / 110));
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
