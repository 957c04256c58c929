// @ts-check
// What the review desk lays over the picture, in whichever view of the canvas: energy, regions of labels and systems
// with their names, metadata, what is being drawn.

import { heldInside } from "./desk_shapes.js";
import { pointOf } from "./geometry.js";
import { compose, paintOver, Raster } from "./painting.js";

const BAND = "rgba(8,10,14,.75)", OPACITY = 0.62;

/**
 * @typedef {{words: string, font: string, ink: string, x: number, y: number, w: number, first: number}} Name  Of a
 *   region; the one with the larger `first` is placed before.
 * @typedef {{x: number, y: number}} Spot  A place on the screen.
 * @typedef {object} Sight  A view of the canvas on which the desk draws.
 * @property {CanvasRenderingContext2D} ctx
 * @property {{x: number, y: number, w: number, h: number}} plot
 * @property {import("./erp_view.js").Place | null} pointer
 * @property {boolean} onSphere  Regions are where they are on the sphere, not on the canvas.
 * @property {(lines: Float32Array[], shift?: {dx: number, dy: number}) => unknown} trace
 * @property {(ink: string, style: any) => void} stroke
 * @property {(lines: Float32Array[]) => Spot | null} highest  Highest point of a region with room for a name beside it.
 * @property {(point: import("./geometry.js").Point) => Spot[]} spots  Where a point of the canvas is seen.
 * @property {(points: number[][], radius: number) => void} sweep  Fill what a brush has covered.
 * @typedef {object} Style
 * @property {number} width
 * @property {number[]} [dash]
 * @property {number} [alpha]
 * @property {boolean} [targets]  Only what a decision would change.
 * @property {{dx: number, dy: number}} [shift]
 * @property {string} [color]
 * @property {(row: number, info: any, category: number) => string} [tag]
 * @property {boolean} [above]  The tag stands over the region, else on its upper edge.
 */

export class DeskScene {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.heat = new Raster(desk.size);
    this.field = new Uint8Array(desk.size.width * desk.size.height);
    /** Grows when the energies are painted anew. */
    this.version = 0;
    /** What they were painted from. @type {{block: unknown, frame: number, peak: number}} */
    this.painted = { block: null, frame: -1, peak: 0 };
    /** Names of regions, until all are known and have their places. @type {Name[]} */
    this.named = [];
  }

  /** Energies of the labels to lay over the picture; null where there are none. */
  energies() {
    const { desk } = this, { frame } = desk, block = desk.showHeat && desk.moments.block("work");
    if (!block) return null;
    if (this.painted.block !== block || this.painted.frame !== frame) {
      const peak = compose(block, frame, 0, () => true, this.field, desk.size.width);
      paintOver(this.heat.pixels, this.field, desk.lut, 1, OPACITY, false);
      this.heat.flush();
      this.version++;
      this.painted = { block, frame, peak };
    }
    return this.painted.peak > 0 ? this.heat : null;
  }

  /** @param {Sight} view */
  draw(view) {
    const { desk } = this, { theme, moment, drawing } = desk;
    if (desk.showOthers && moment) {
      for (const table of moment.tables) {
        if (table === "L") continue;
        const score = (/** @type {number} */ v) => (Number.isFinite(v) ? v.toFixed(2) : "");
        const tag = (k, info, category) => `${table} ${desk.short(category)} ${score(info.score[k])}`;
        this.regions(view, "base", table, { dash: [2, 3], width: 1.6, tag });
      }
    }
    if (moment && moment.version) this.regions(view, "base", "L", { dash: [6, 4], width: 1.2, alpha: 0.75 });
    const tag = (k, info, category) => `${desk.short(category)} #${info.instance[k]}`;
    this.regions(view, "work", "W", { width: 1.5, tag, above: true });
    if (desk.fills) {
      const filled = (_k, _info, category) => `${desk.short(category)} filled in`;
      this.regions(view, "preview", "P", { width: 2, dash: [2, 4], color: theme.accent, tag: filled, above: true });
    }
    const { az, el } = drawing.shift;
    if (az || el) {
      const shift = { dx: -az, dy: -el };
      this.regions(view, "work", "W", { width: 2.4, targets: true, shift, color: theme.accent });
    }
    this.names(view);
    this.metadata(view);
    drawing.draw(view, theme.accent);
  }

  /**
   * Regions of a table in the frame on the screen.
   * @param {Sight} view @param {"base" | "work" | "preview"} kind @param {string} table @param {Style} style
   */
  regions(view, kind, table, { width, dash = [], alpha = 1, targets = false, shift, color, tag, above = false }) {
    const { desk } = this, { ctx, plot } = view, block = desk.moments.block(kind), info = desk.rows[table];
    if (!block || !info) return;
    const number = kind !== "base" ? 0 : desk.moment.tables.indexOf(table);
    for (const p of block.frames[desk.frame - block.start]) {
      const { table: of, row } = block.patch(p), lines = block.outlines[p];
      if (of !== number || row < 0) continue;
      const k = info.at.get(row), isTarget = kind === "work" && k !== undefined && !!info.target[k];
      if (targets && !isTarget) continue;
      const category = k === undefined ? -1 : info.category[k], ink = color || desk.color(category);
      ctx.globalAlpha = alpha;
      view.trace(lines, shift && heldInside(shift, lines, desk.size));
      const thick = isTarget && !color ? width + 1.4 : width, halo = width + (isTarget ? 3.4 : 2) - thick;
      view.stroke(ink, { band: BAND, halo, width: thick, dash, bandDash: dash });
      ctx.globalAlpha = 1;
      const best = tag && k !== undefined ? view.highest(lines) : null;
      if (!best) continue;
      const font = `${isTarget ? 600 : 500} 11px ${desk.theme.font}`;
      ctx.font = font;
      const words = tag(k, info, category), w = ctx.measureText(words).width + 8;
      const x = Math.min(Math.max(best.x - w / 2, 2), plot.w - w - 2);
      const y = Math.max(best.y - (above ? 19 : 5), 2) + (above ? 0 : 8);
      const score = info.score && Number.isFinite(info.score[k]) ? info.score[k] : 0;
      this.named.push({ words, font, ink, x, y, w, first: isTarget ? 3 : above ? 2 : score });
    }
  }

  // Names where they do not hide each other: what is decided about first, then labels, then systems by their scores.
  // One without room close by is left out: its region is there, and its class in colour.
  /** @param {Sight} view */
  names({ ctx, plot }) {
    const step = 16, named = this.named.sort((a, b) => b.first - a.first);
    /** @type {Name[]} */
    const placed = [];
    this.named = [];
    for (const name of named) {
      const fits = (/** @type {number} */ y) =>
        y >= 2 && y + step <= plot.h - 16 &&
        placed.every((p) => Math.abs(p.y - y) >= step || p.x + p.w <= name.x || name.x + name.w <= p.x);
      const free = [0, 1, -1, 2, -2, 3].map((k) => name.y + k * step).find(fits);
      if (free === undefined) continue;
      placed.push({ ...name, y: free });
    }
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    for (const { words, font, ink, x, y, w } of placed) {
      ctx.font = font;
      ctx.fillStyle = "rgba(10,12,17,.86)";
      ctx.fillRect(x, y, w, 15);
      ctx.fillStyle = ink;
      ctx.fillRect(x, y, 3, 15);
      ctx.fillStyle = "#f2f4f8";
      ctx.fillText(words, x + 6, y + 11);
    }
  }

  /** @param {Sight} view */
  metadata(view) {
    const { desk } = this, { ctx } = view, m = desk.rows.M;
    for (let k = 0; m && k < m.frame.length; k++) {
      if (m.frame[k] !== desk.frame) continue;
      for (const { x, y } of view.spots(pointOf(m.azimuth[k], m.elevation[k], desk.size))) {
        ctx.beginPath();
        ctx.moveTo(x - 7, y);
        ctx.lineTo(x + 7, y);
        ctx.moveTo(x, y - 7);
        ctx.lineTo(x, y + 7);
        view.stroke(desk.color(m.category[k]), { band: "rgba(8,10,14,.85)", halo: 2, width: 2 });
      }
    }
  }
}
