// @ts-check
// The panorama of the review desk: the whole canvas, with what the desk lays over it.

import { ErpView } from "./erp_view.js";
import { shortest } from "./geometry.js";

const AZIMUTH_STEPS = [10, 30, 60], ELEVATION_STEPS = [15, 30];

export class Panorama extends ErpView {
  /** @param {import("./desk.js").Desk} desk @param {HTMLCanvasElement} canvas */
  constructor(desk, canvas) {
    super(canvas, deskHost(desk, () => this), desk.size, { maxZoom: 16 });
    this.desk = desk;
    this.onSphere = false;
    /** @type {import("./erp_view.js").Place | null} */
    this.pointer = null;
  }

  draw() {
    const { ctx, desk, size, plot } = this, { theme, scene } = desk;
    this.begin(theme.panel);
    const top = this.toY(0), bottom = this.toY(size.height), picture = desk.moments.picture();
    ctx.beginPath();
    ctx.rect(plot.x, top, plot.w, bottom - top);
    ctx.clip();
    ctx.fillStyle = "#14161c";
    ctx.fillRect(plot.x, top, plot.w, bottom - top);
    if (picture) this.blit(picture);
    const energies = scene.energies();
    if (energies) this.blit(energies.canvas, { smooth: false });
    this.scales(bottom);
    scene.draw(this);
    this.end();
    if (!picture) desk.sayPicture(ctx, Math.max(top, 0));
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

  /** @param {Float32Array[]} lines */
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

  /** @param {import("./geometry.js").Point} point */
  spots({ x, y }) {
    return this.copies().map((k) => ({ x: this.toX(x + k * this.size.width), y: this.toY(y) }));
  }

  /** @param {number[][]} points @param {number} radius */
  sweep(points, radius) {
    const { ctx, size, scale } = this;
    ctx.lineCap = ctx.lineJoin = "round";
    ctx.lineWidth = 2 * radius * scale;
    for (const k of this.copies(1)) {
      ctx.beginPath();
      let x = points[0][0];
      for (const [px, py] of points) {
        x += shortest(px - x, size.width);
        ctx.lineTo(this.toX(x + k * size.width), this.toY(py));
      }
      if (points.length === 1) ctx.lineTo(this.toX(x + k * size.width) + 0.01, this.toY(points[0][1])); // a dot
      ctx.stroke();
    }
    ctx.lineCap = "butt";
  }
}

/**
 * What the desk does with the pointer on one of its views.
 * @param {import("./desk.js").Desk} desk @param {() => any} view @returns {import("./erp_view.js").Host}
 */
export function deskHost(desk, view) {
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
    drag: (at) => desk.drawing.drag(at, view()),
    release: () => desk.drawing.release(),
    hover: (at) => {
      const { drawing } = desk, { canvas } = view();
      view().pointer = at;
      canvas.style.cursor = drawing.tool === "move" && at && drawing.isOnTarget(at) ? "move" : "";
      if (drawing.paints) desk.paint();
    },
  };
}
