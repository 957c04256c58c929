// @ts-check
// One panel of the player: title, colour scale, axes, outlines, tags, crosshair.

import { ErpView } from "./erp_view.js";
import { pointOf, shortest } from "./geometry.js";
import { gazeAt, traceEdge } from "./look_view.js";
import { Raster } from "./painting.js";
import { PanelHead } from "./panel_head.js";
import { drawTags } from "./tags.js";

export const MARGIN = { left: 32, right: 4, top: 1, bottom: 17 };
const AZIMUTH_STEPS = [5, 10, 15, 30, 60, 90], ELEVATION_STEPS = [5, 10, 15, 30, 45];

/**
 * @typedef {import("./erp_view.js").Place} Place
 * @typedef {import("./look_view.js").LookView} LookView
 * @typedef {object} Outline
 * @property {Float32Array[]} lines
 * @property {string} color
 * @property {string} bright  The same over dark maps.
 * @property {boolean} [dash]
 * @property {string} tag
 * @property {string} brief  The tag where room is short.
 * @property {string} short
 */

export class Panel extends ErpView {
  /** @param {import("./player.js").Player} player @param {string} kind */
  constructor(player, kind) {
    const canvas = document.createElement("canvas");
    super(canvas, hostOf(player, kind), player.size, { maxZoom: player.maxZoom, margin: MARGIN });
    this.player = player;
    this.kind = kind;
    this.head = new PanelHead(player, kind, canvas);
    this.head.title.onclick = () => lookAlone(player, kind);
    this.raster = new Raster(player.size);
  }

  /**
   * @param {number} x @param {number} y @param {number} width
   * @param {number} height Of the canvas, without the title.
   * @param {number} spare Free width to the right, which a long title may use.
   */
  place(x, y, width, height, spare = 0) {
    this.head.place(x, y, width, spare);
    this.resize(width, height);
  }

  /**
   * @param {object} what
   * @param {CanvasImageSource | null} what.source
   * @param {CanvasImageSource | null} [what.over]
   * @param {string} [what.message]  Shown in place of the source.
   * @param {Outline[]} [what.outlines]
   * @param {boolean} [what.tags]
   * @param {boolean} [what.light]  The ground is light.
   */
  draw({ source, over = null, message = "", outlines = [], tags = true, light = false }) {
    const { ctx, plot, player } = this, { theme } = player;
    this.begin(theme.panel);
    const smooth = player.view.z < 4;
    if (source && !message) this.blit(source, { smooth });
    if (over && !message) this.blit(over, { smooth });
    this.graticule(this.marks(), light && !over ? "rgba(0,0,0,.09)" : "rgba(255,255,255,.13)");
    if (message) this.message(message);
    else {
      for (const o of outlines) {
        this.trace(o.lines);
        const band = light ? "rgba(255,255,255,.75)" : "rgba(0,0,0,.6)";
        this.stroke(light ? o.color : o.bright, { band, halo: 1.7, width: 1.7, dash: o.dash ? [5, 3] : [] });
      }
      if (tags) this.tags(outlines);
    }
    const ring = player.hearing.ring();
    if (ring) this.heard(ring);
    if (player.lookOn) this.gaze(player.lookOn, light);
    if (player.cursor) this.cross(player.cursor, light);
    this.end();
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1;
    ctx.strokeRect(plot.x - 0.5, plot.y - 0.5, plot.w + 1, plot.h + 1);
    this.axes();
  }

  marks() {
    return this.ticks(AZIMUTH_STEPS, ELEVATION_STEPS, { x: 46, y: 24 });
  }

  axes() {
    const { ctx, plot, player } = this, { az, el } = this.marks();
    ctx.font = `10.5px ${player.theme.font}`;
    ctx.fillStyle = player.theme.dim;
    ctx.textBaseline = "top";
    ctx.textAlign = "center";
    for (const t of az) {
      const w = ctx.measureText(t.text).width / 2;
      ctx.fillText(t.text, Math.min(Math.max(t.p, plot.x + w - 8), plot.x + plot.w - w + 2), plot.y + plot.h + 4);
    }
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    for (const t of el) ctx.fillText(t.text, plot.x - 4, Math.min(Math.max(t.p, plot.y + 5), plot.y + plot.h - 5));
  }

  // A region over the seam is seen at both ends and named once, where more of it is in sight.
  tags(outlines) {
    const { plot, player } = this, regions = [], { width } = this.size;
    for (const o of outlines) {
      if (!o.lines.length) continue;
      let x0 = 1e9, x1 = -1e9, y0 = 1e9, y1 = -1e9;
      for (const line of o.lines) {
        for (let i = 0; i < line.length; i += 2) {
          x0 = Math.min(x0, line[i]);
          x1 = Math.max(x1, line[i]);
          y0 = Math.min(y0, line[i + 1]);
          y1 = Math.max(y1, line[i + 1]);
        }
      }
      let named = null, most = -1;
      for (const k of this.copies(1)) {
        const a = this.toX(x0 + k * width), b = this.toX(x1 + k * width);
        const r = { a, b, t: this.toY(y0), u: this.toY(y1), o, named: false };
        if (r.b < plot.x || r.a > plot.x + plot.w || r.u < plot.y || r.t > plot.y + plot.h) continue;
        const seen = Math.min(r.b, plot.x + plot.w) - Math.max(r.a, plot.x);
        regions.push(r);
        if (seen > most) {
          most = seen;
          named = r;
        }
      }
      if (named) named.named = true;
    }
    drawTags(this.ctx, plot, player.theme.font, regions);
  }

  // Where is listened to, and how wide: a tint of the side that is heard, stronger along its edge.
  heard({ line, closed, at, dashed, side }) {
    const { ctx, player, size, plot } = this;
    if (side) {
      ctx.save();
      ctx.beginPath();
      for (const k of this.copies(1)) {
        const first = this.toX(line[0] + k * size.width);
        ctx.moveTo(first, this.toY(line[1]));
        for (let i = 2; i < line.length; i += 2) ctx.lineTo(this.toX(line[i] + k * size.width), this.toY(line[i + 1]));
        if (!closed) {
          const y = this.toY(side === "up" ? 0 : size.height);
          ctx.lineTo(this.toX(line[line.length - 2] + k * size.width), y);
          ctx.lineTo(first, y);
        }
        ctx.closePath();
      }
      if (side === "out") ctx.rect(plot.x, plot.y, plot.w, plot.h);
      ctx.clip("evenodd");
      ctx.fillStyle = ctx.strokeStyle = player.theme.accent;
      ctx.globalAlpha = 0.08;
      ctx.fillRect(plot.x, plot.y, plot.w, plot.h);
      ctx.globalAlpha = 0.22;
      ctx.lineWidth = 18;
      this.trace([line], undefined, closed);
      ctx.stroke();
      ctx.restore();
    }
    const { x, y } = pointOf(at.azimuth, at.elevation, size);
    const style = { band: "rgba(0,0,0,.55)", halo: 2, width: 1.8, dash: dashed ? [2, 4] : [] };
    this.trace([line], undefined, closed);
    this.stroke(player.theme.accent, style);
    this.trace([Float32Array.of(x, y)]);
    this.stroke(player.theme.accent, style);
  }

  /** Where one looks in the view around: its edge, and its middle. @param {LookView} view @param {boolean} light */
  gaze(view, light) {
    const { ctx, player, size, plot } = this, half = plot.w / 2 / this.scale, { x: at } = player.view;
    const style = { band: light ? "rgba(255,255,255,.8)" : "rgba(0,0,0,.55)", halo: 1.8, width: 1.3 };
    ctx.beginPath();
    const toX = (/** @type {number} */ x) => this.toX(x), toY = (/** @type {number} */ y) => this.toY(y);
    traceEdge(ctx, view.edge, size.width, toX, toY, [at - half, at + half]);
    this.stroke(light ? player.theme.fg : "#fff", style);
    const middle = pointOf(player.gaze.yaw, player.gaze.pitch, size);
    ctx.beginPath();
    for (const k of this.copies()) {
      const x = toX(middle.x + k * size.width), y = toY(middle.y);
      ctx.moveTo(x + 4, y);
      ctx.arc(x, y, 4, 0, 7);
    }
    ctx.fillStyle = player.theme.accent;
    ctx.fill();
    this.stroke("#fff", style);
  }

  /** Whether a place is on the view's edge or middle, by which one takes hold of it. @param {Place} at */
  onGaze(at) {
    const view = this.player.lookOn;
    if (!view) return false;
    const { size } = this, { gaze } = this.player, { line } = view.edge, near = 6 / this.scale;
    const middle = pointOf(gaze.yaw, gaze.pitch, size);
    const off = (/** @type {number} */ x, /** @type {number} */ y) =>
      Math.hypot(shortest(x - at.x, size.width), y - at.y);
    if (off(middle.x, middle.y) < 1.5 * near) return true;
    for (let i = 2; i < line.length; i += 2) {
      // distance to the middle of a step is enough: steps are short
      const dx = line[i] - line[i - 2], dy = line[i + 1] - line[i - 1];
      const steps = Math.ceil(Math.hypot(dx, dy) / near);
      for (let k = 0; k <= steps; k++) {
        if (off(line[i - 2] + (dx * k) / steps, line[i - 1] + (dy * k) / steps) < near) return true;
      }
    }
    return false;
  }

  /** The panel as a picture. */
  picture() {
    return this.canvas;
  }

  cross(c, light) {
    const { ctx, plot } = this, y = Math.round(this.toY(c.y)) + 0.5;
    ctx.strokeStyle = light ? "rgba(0,0,0,.55)" : "rgba(255,255,255,.75)";
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(plot.x, y);
    ctx.lineTo(plot.x + plot.w, y);
    for (const k of this.copies()) {
      const x = Math.round(this.toX(c.x + k * this.size.width)) + 0.5;
      ctx.moveTo(x, plot.y);
      ctx.lineTo(x, plot.y + plot.h);
    }
    ctx.stroke();
    ctx.setLineDash([]);
  }

  message(text) {
    const { ctx, plot, player } = this;
    ctx.fillStyle = player.theme.panel;
    ctx.globalAlpha = 0.85;
    ctx.fillRect(plot.x, plot.y, plot.w, plot.h);
    ctx.globalAlpha = 1;
    ctx.font = `13px ${player.theme.font}`;
    ctx.fillStyle = player.theme.dim;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    const lines = [];
    for (const part of text.split("\n")) {
      let line = "";
      for (const word of part.split(" ")) {
        if (line && ctx.measureText(`${line} ${word}`).width > plot.w - 40) {
          lines.push(line);
          line = word;
        } else line = line ? `${line} ${word}` : word;
      }
      lines.push(line);
    }
    lines.forEach((line, i) =>
      ctx.fillText(line, plot.x + plot.w / 2, plot.y + plot.h / 2 + (i - (lines.length - 1) / 2) * 19),
    );
  }
}

/**
 * One of the small multiples becomes the system that is looked at.
 * @param {import("./player.js").Player} player @param {string} kind
 */
function lookAlone(player, kind) {
  if (player.layout !== "ALL" || !kind.startsWith("pred")) return false;
  player.setLayout(kind.slice(-1));
  return true;
}

/** @param {import("./player.js").Player} player @param {string} kind @returns {import("./erp_view.js").Host} */
export function hostOf(player, kind) {
  /** From the place that was taken hold of to where one looks. @type {{dx: number, dy: number} | null} */
  let held = null;
  let begins = false;
  const turn = (/** @type {Place} */ at) => {
    player.turn(gazeAt({ x: at.rawX + held.dx, y: at.y + held.dy }, player.size), begins);
    begins = false;
  };
  return {
    get camera() {
      return player.view;
    },
    look: (camera) => player.look(camera),
    reset: () => player.resetView(),
    focus: () => player.focus(),
    press: (at, event) => {
      if (kind === "look" || !player.lookOn || !at.inside) return false;
      const { gaze, size } = player, middle = pointOf(gaze.yaw, gaze.pitch, size);
      if (event.shiftKey) held = { dx: 0, dy: 0 };
      else if (!player.panels.get(kind).onGaze(at)) return false;
      else held = { dx: shortest(middle.x - at.x, size.width), dy: middle.y - at.y };
      begins = true;
      if (event.shiftKey) turn(at);
      return true;
    },
    drag: (at) => turn(at),
    release: (at, moved) => {
      const turned = !!held;
      held = null;
      if (turned || moved || !at || lookAlone(player, kind)) return;
      if (at.inside && player.hearing.click(at)) return;
      player.sources.pick(at.inside ? at : null);
    },
    hover: (at, since) => {
      const panel = player.panels.get(kind);
      if (kind !== "look") panel.canvas.style.cursor = at && panel.onGaze(at) ? "move" : "";
      player.hover(at, since);
    },
  };
}
