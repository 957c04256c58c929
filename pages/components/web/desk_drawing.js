// @ts-check
// Drawing on the panorama: a region is moved, or drawn anew with a box, a free line, a brush.

import { discAt, boxOf, edgeLine } from "./desk_shapes.js";
import { shortest, valueAt, wrap } from "./geometry.js";

/**
 * @typedef {import("./erp_view.js").Place} Place
 * @typedef {"move" | "box" | "lasso" | "brush" | "erase"} Tool
 * @typedef {import("./desk_shapes.js").Shape} Shape
 */

const LEAST_STEP = 0.7, MOST_POINTS = 5000;

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

  /** @param {Place} at @param {{enclose?: (points: number[][]) => number[][]}} view  In which it is drawn. */
  drag(at, view) {
    const { stroke, tool } = this;
    if (!stroke) return;
    if (tool === "move") {
      const { from, shift } = stroke;
      const az = shift.az - Math.round(at.rawX - from.rawX); // once around is where it was
      this.shift = { az: Math.abs(az) > 180 ? shortest(az, 360) : az, el: shift.el - Math.round(at.y - from.y) };
    } else if (tool === "box") {
      this.shapes = [{ shape: "box", box: boxOf(stroke.from, at, this.desk.size.width) }];
    } else {
      const { points, last } = stroke;
      if (Math.hypot(at.rawX - last.rawX, at.y - last.y) >= LEAST_STEP && points.length < MOST_POINTS) {
        points.push([at.x, at.y]);
        stroke.last = at;
      }
      if (tool === "lasso" && points.length > 2) {
        const closed = view.enclose ? view.enclose(points) : points;
        this.shapes = [{ shape: "lasso", points: closed, ...(closed === points ? {} : { line: points }) }];
      }
    }
    this.desk.drawn();
  }

  release() {
    this.stroke = null;
    this.desk.drawn();
  }

  /** What was drawn, as the server takes it. */
  get asked() {
    return this.shapes.map(({ shape, box, points, radius, energy }) => ({ shape, box, points, radius, energy }));
  }

  /** @param {import("./desk_scene.js").Sight} view @param {string} accent */
  draw(view, accent) {
    const { ctx, onSphere, pointer } = view, { size } = this.desk;
    for (const shape of this.shapes) {
      ctx.fillStyle = ctx.strokeStyle = accent;
      ctx.lineWidth = 2;
      if (shape.shape === "box" || shape.shape === "lasso") {
        view.trace([edgeLine(shape, size, onSphere)]);
        this.fill(ctx);
        continue;
      }
      ctx.globalAlpha = shape.shape === "erase" ? 0.5 : 0.25 + 0.4 * shape.energy;
      if (shape.shape === "erase") ctx.fillStyle = ctx.strokeStyle = "#000";
      view.sweep(shape.points, shape.radius);
      ctx.globalAlpha = 1;
    }
    if (!this.paints || !pointer) return;
    view.trace([discAt(pointer.rawX, pointer.y, this.radius, size)]);
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = "#fff";
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
