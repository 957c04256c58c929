// @ts-check
// Drawing on the panorama: a region is moved, or drawn anew with a box, a free line, a brush.

import { shortest, valueAt, wrap } from "./geometry.js";

/**
 * @typedef {import("./erp_view.js").Place} Place
 * @typedef {"move" | "box" | "lasso" | "brush" | "erase"} Tool
 * @typedef {{shape: string, box?: number[], points?: number[][], radius?: number, energy?: number}} Shape
 */

const LEAST_STEP = 0.7, MOST_POINTS = 5000;

/** Box between two places, at most all columns; `[left, top, right, bottom]`, left > right over the seam. */
export function boxOf(/** @type {Place} */ a, /** @type {Place} */ b, /** @type {number} */ width) {
  const left = Math.min(a.rawX, b.rawX), right = Math.max(a.rawX, b.rawX);
  const end = right - left >= width - 1 ? left + width - 1 : right;
  return [wrap(left, width), Math.min(a.y, b.y), wrap(end, width), Math.max(a.y, b.y)];
}

export class Drawing {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {Tool} */
    this.tool = "move";
    /** @type {Shape[]} */
    this.shapes = [];
    this.shift = { az: 0, el: 0 };
    this.radius = 5;
    this.energy = 1;
    /** @type {{from: Place, last: Place, points: number[][], shift: {az: number, el: number}} | null} */
    this.stroke = null;
  }

  get paints() {
    return this.tool === "brush" || this.tool === "erase";
  }

  get dirty() {
    return this.shapes.length > 0 || this.shift.az !== 0 || this.shift.el !== 0;
  }

  drop() {
    this.shapes = [];
    this.shift = { az: 0, el: 0 };
    this.desk.drawn();
  }

  /** @param {Tool} tool */
  choose(tool) {
    const painted = this.paints, changed = tool !== this.tool;
    this.tool = tool;
    if (changed && !(painted && this.paints)) this.drop();
    this.desk.drawn();
  }

  /** @param {number} az @param {number} el */
  nudge(az, el) {
    this.shapes = [];
    this.shift = { az: this.shift.az + az, el: this.shift.el + el };
    this.desk.drawn();
  }

  /** Whether a place is on the region that is moved. @param {Place} at */
  isOnTarget(at) {
    const width = this.desk.size.width, moved = { x: wrap(at.x + this.shift.az, width), y: at.y + this.shift.el };
    return this.desk.moments.targets().some(({ block, patch }) => valueAt(patch, block.values, moved, width) > 0);
  }

  /** @param {Place} at @returns {boolean} Whether a drag from here draws; else it pans. */
  press(at) {
    if (this.tool === "move" && !this.isOnTarget(at)) return false;
    this.stroke = { from: at, last: at, points: [[at.x, at.y]], shift: { ...this.shift } };
    if (this.paints) {
      this.shapes.push({ shape: this.tool, points: this.stroke.points, radius: this.radius, energy: this.energy });
      this.desk.drawn();
    }
    return true;
  }

  /** @param {Place} at */
  drag(at) {
    const { stroke, tool } = this;
    if (!stroke) return;
    if (tool === "move") {
      const { from, shift } = stroke;
      this.shift = { az: shift.az - Math.round(at.rawX - from.rawX), el: shift.el - Math.round(at.y - from.y) };
    } else if (tool === "box") {
      this.shapes = [{ shape: "box", box: boxOf(stroke.from, at, this.desk.size.width) }];
    } else {
      const { points, last } = stroke;
      if (Math.hypot(at.rawX - last.rawX, at.y - last.y) >= LEAST_STEP && points.length < MOST_POINTS) {
        points.push([at.x, at.y]);
        stroke.last = at;
      }
      if (tool === "lasso" && points.length > 2) this.shapes = [{ shape: "lasso", points }];
    }
    this.desk.drawn();
  }

  release() {
    this.stroke = null;
    this.desk.drawn();
  }

  /** @param {import("./desk_panorama.js").Panorama} view @param {string} accent */
  draw(view, accent) {
    const { ctx, size, scale } = view;
    ctx.fillStyle = accent;
    for (const shape of this.shapes) {
      for (const k of view.copies(1)) {
        const offset = k * size.width;
        ctx.strokeStyle = accent;
        ctx.lineWidth = 2;
        if (shape.shape === "box") {
          const [x0, y0, x1, y1] = shape.box, right = x1 < x0 ? x1 + size.width : x1;
          const columns = Math.floor(right) + 1 - Math.floor(x0);
          const rows = Math.floor(Math.min(y1, size.height - 1)) + 1 - Math.floor(y0);
          ctx.beginPath();
          ctx.rect(view.toX(Math.floor(x0) + offset), view.toY(Math.floor(y0)), columns * scale, rows * scale);
          this.fill(ctx);
          continue;
        }
        ctx.beginPath();
        let x = shape.points[0][0];
        for (const [px, py] of shape.points) {
          x += shortest(px - x, size.width);
          ctx.lineTo(view.toX(x + offset), view.toY(py));
        }
        if (shape.shape === "lasso") {
          ctx.closePath();
          this.fill(ctx);
          continue;
        }
        if (shape.points.length === 1) ctx.lineTo(view.toX(x + offset) + 0.01, view.toY(shape.points[0][1])); // a dot
        ctx.lineCap = ctx.lineJoin = "round";
        ctx.lineWidth = 2 * shape.radius * scale;
        ctx.globalAlpha = shape.shape === "erase" ? 0.5 : 0.25 + 0.4 * shape.energy;
        ctx.strokeStyle = shape.shape === "erase" ? "#000" : accent;
        ctx.stroke();
        ctx.globalAlpha = 1;
        ctx.lineCap = "butt";
      }
    }
    if (!this.paints || !view.pointer) return;
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = "#fff";
    ctx.beginPath();
    ctx.arc(view.toX(view.pointer.rawX), view.toY(view.pointer.y), this.radius * scale, 0, 7);
    ctx.stroke();
  }

  /** @param {CanvasRenderingContext2D} ctx */
  fill(ctx) {
    ctx.globalAlpha = 0.18;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.stroke();
  }
}
