// @ts-check
// The panorama of the review desk: picture, energy, regions of labels and systems, metadata, what is being drawn.

import { ErpView } from "./erp_view.js";
import { pointOf } from "./geometry.js";
import { compose, paintOver, Raster } from "./painting.js";

const AZIMUTH_STEPS = [10, 30, 60], ELEVATION_STEPS = [15, 30];
const BAND = "rgba(8,10,14,.75)";

/**
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

export class Panorama extends ErpView {
  /** @param {import("./desk.js").Desk} desk @param {HTMLCanvasElement} canvas */
  constructor(desk, canvas) {
    super(canvas, hostOf(desk), desk.size, { maxZoom: 16 });
    this.desk = desk;
    /** @type {import("./erp_view.js").Place | null} */
    this.pointer = null;
    this.heat = new Raster(desk.size);
    this.field = new Uint8Array(desk.size.width * desk.size.height);
  }

  draw() {
    const { ctx, desk, size, plot } = this, { theme, moment, drawing } = desk;
    this.begin(theme.panel);
    const top = this.toY(0), bottom = this.toY(size.height), picture = desk.moments.picture();
    ctx.beginPath();
    ctx.rect(plot.x, top, plot.w, bottom - top);
    ctx.clip();
    ctx.fillStyle = "#14161c";
    ctx.fillRect(plot.x, top, plot.w, bottom - top);
    if (picture) this.blit(picture);
    if (desk.showHeat && this.paintHeat()) this.blit(this.heat.canvas, { alpha: 0.62, smooth: false });
    this.scales(bottom);
    if (desk.showOthers && moment) {
      for (const table of moment.tables) {
        if (table === "L") continue;
        const score = (/** @type {number} */ v) => (Number.isFinite(v) ? v.toFixed(2) : "");
        const tag = (k, info, category) => `${table} ${desk.short(category)} ${score(info.score[k])}`;
        this.regions("base", table, { dash: [2, 3], width: 1.6, tag });
      }
    }
    if (moment && moment.version) this.regions("base", "L", { dash: [6, 4], width: 1.2, alpha: 0.75 });
    const tag = (k, info, category) => `${desk.short(category)} #${info.instance[k]}`;
    this.regions("work", "W", { width: 1.5, tag, above: true });
    const { az, el } = drawing.shift;
    if (az || el) {
      const shift = { dx: -az, dy: -el };
      this.regions("work", "W", { width: 2.4, targets: true, shift, color: theme.accent });
    }
    this.metadata();
    drawing.draw(this, theme.accent);
    this.end();
    if (picture) return;
    ctx.fillStyle = "#c9ced8";
    ctx.font = `12px ${theme.font}`;
    ctx.textAlign = "left";
    ctx.fillText(desk.pictureMessage(), 10, Math.max(top, 0) + 18);
  }

  paintHeat() {
    const block = this.desk.moments.block("work");
    if (!block) return false;
    const peak = compose(block, this.desk.frame, 0, () => true, this.field, this.size.width);
    paintOver(this.heat.pixels, this.field, this.desk.lut, 1, 1, false);
    this.heat.flush();
    return peak > 0;
  }

  /** @param {number} bottom Of the canvas on the screen. */
  scales(bottom) {
    const { ctx, plot } = this, { z } = this.host.camera;
    const az = z > 5 ? AZIMUTH_STEPS : z > 2 ? AZIMUTH_STEPS.slice(1) : AZIMUTH_STEPS.slice(2);
    const ticks = this.ticks(az, z > 2 ? ELEVATION_STEPS : ELEVATION_STEPS.slice(1), { x: 0, y: 0 });
    this.graticule(ticks, "rgba(255,255,255,.16)");
    ctx.fillStyle = "rgba(255,255,255,.82)";
    ctx.font = `10.5px ${this.desk.theme.font}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.shadowColor = "#000";
    ctx.shadowBlur = 3;
    const base = Math.min(bottom, plot.h) - 5;
    for (const { p, text } of ticks.az) {
      if (p + 3 + ctx.measureText(text).width <= plot.w) ctx.fillText(text, p + 3, base); // not cut off at the edge
    }
    for (const { p, text } of ticks.el) if (p > 12 && p < bottom - 20) ctx.fillText(text, 3, p - 3);
    ctx.shadowBlur = 0;
  }

  /**
   * Regions of a table in the frame on the screen.
   * @param {"base" | "work"} kind @param {string} table @param {Style} style
   */
  regions(kind, table, { width, dash = [], alpha = 1, targets = false, shift, color, tag, above = false }) {
    const { ctx, desk, plot } = this, block = desk.moments.block(kind), info = desk.rows[table];
    if (!block || !info) return;
    const number = kind === "work" ? 0 : desk.moment.tables.indexOf(table);
    for (const p of block.frames[desk.frame - block.start]) {
      const { table: of, row } = block.patch(p);
      if (of !== number || row < 0) continue;
      const k = info.at.get(row), isTarget = kind === "work" && k !== undefined && !!info.target[k];
      if (targets && !isTarget) continue;
      const category = k === undefined ? -1 : info.category[k], ink = color || desk.color(category);
      ctx.globalAlpha = alpha;
      this.trace(block.outlines[p], shift);
      const thick = isTarget && !color ? width + 1.4 : width, halo = width + (isTarget ? 3.4 : 2) - thick;
      this.stroke(ink, { band: BAND, halo, width: thick, dash, bandDash: dash });
      ctx.globalAlpha = 1;
      const best = tag && k !== undefined ? this.highest(block.outlines[p]) : null;
      if (!best) continue;
      ctx.font = `${isTarget ? 600 : 500} 11px ${desk.theme.font}`;
      const words = tag(k, info, category), w = ctx.measureText(words).width + 8;
      const x = Math.min(Math.max(best.x - w / 2, 2), plot.w - w - 2);
      const y = Math.max(best.y - (above ? 19 : 5), 2) + (above ? 0 : 8);
      ctx.fillStyle = "rgba(10,12,17,.86)";
      ctx.fillRect(x, y, w, 15);
      ctx.fillStyle = ink;
      ctx.fillRect(x, y, 3, 15);
      ctx.fillStyle = "#f2f4f8";
      ctx.textAlign = "left";
      ctx.textBaseline = "alphabetic";
      ctx.fillText(words, x + 6, y + 11);
    }
  }

  /** Highest point of a region that has room for a tag beside it. @param {Float32Array[]} lines */
  highest(lines) {
    let best = null;
    for (const line of lines) {
      for (const k of this.copies(1)) {
        for (let i = 0; i < line.length; i += 2) {
          const x = this.toX(line[i] + k * this.size.width), y = this.toY(line[i + 1]);
          if ((!best || y < best.y) && x > 0 && x < this.plot.w - 60) best = { x, y };
        }
      }
    }
    return best;
  }

  metadata() {
    const { ctx, desk, size } = this, m = desk.rows.M;
    for (let k = 0; m && k < m.frame.length; k++) {
      if (m.frame[k] !== desk.frame) continue;
      const at = pointOf(m.azimuth[k], m.elevation[k], size), y = this.toY(at.y);
      for (const copy of this.copies()) {
        const x = this.toX(at.x + copy * size.width);
        ctx.beginPath();
        ctx.moveTo(x - 7, y);
        ctx.lineTo(x + 7, y);
        ctx.moveTo(x, y - 7);
        ctx.lineTo(x, y + 7);
        this.stroke(desk.color(m.category[k]), { band: "rgba(8,10,14,.85)", halo: 2, width: 2 });
      }
    }
  }
}

/** @param {import("./desk.js").Desk} desk @returns {import("./erp_view.js").Host} */
function hostOf(desk) {
  return {
    get camera() {
      return desk.view;
    },
    look: (camera) => desk.look(camera),
    reset: () => {
      if (desk.drawing.tool === "move") desk.look(desk.whole);
    },
    focus: () => desk.focus(),
    press: (at) => desk.drawing.press(at),
    drag: (at) => desk.drawing.drag(at),
    release: () => desk.drawing.release(),
    hover: (at) => {
      desk.pano.pointer = at;
      if (desk.drawing.paints) desk.paint();
    },
  };
}
