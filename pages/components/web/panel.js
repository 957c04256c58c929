// @ts-check
// One panel of the player: title, colour scale, axes, outlines, tags, crosshair.

import { ErpView } from "./erp_view.js";
import { Raster } from "./painting.js";

export const MARGIN = { left: 32, right: 4, top: 1, bottom: 17 };
const AZIMUTH_STEPS = [5, 10, 15, 30, 60, 90], ELEVATION_STEPS = [5, 10, 15, 30, 45];

/**
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
    super(canvas, hostOf(player), player.size, { maxZoom: player.maxZoom, margin: MARGIN });
    this.player = player;
    this.kind = kind;
    this.box = document.createElement("div");
    this.box.className = "panel";
    this.box.dataset.kind = kind;
    const head = document.createElement("div");
    head.className = "ph";
    this.key = document.createElement("button");
    this.key.className = "k";
    this.key.onclick = () => player.maximise(kind);
    this.title = document.createElement("span");
    this.title.className = "t";
    this.sub = document.createElement("span");
    this.sub.className = "s";
    this.bar = document.createElement("canvas");
    head.append(this.key, this.title, this.sub, this.bar);
    canvas.setAttribute("role", "img");
    this.box.append(head, canvas);
    this.raster = new Raster(player.size);
  }

  /**
   * @param {number} x @param {number} y @param {number} width
   * @param {number} height Of the canvas, without the title.
   */
  place(x, y, width, height) {
    Object.assign(this.box.style, { left: `${x}px`, top: `${y}px`, width: `${width}px` });
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

  // Tags stand beside their region, where they hide no earlier tag and as little as possible of other regions. A region
  // over the seam is seen at both ends and named once, where more of it is in sight.
  tags(outlines) {
    const { ctx, plot, player } = this, placed = [], regions = [], { width } = this.size, narrow = plot.w < 330;
    ctx.font = `500 11px ${player.theme.font}`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
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
        const r = { a: this.toX(x0 + k * width), b: this.toX(x1 + k * width), t: this.toY(y0), u: this.toY(y1), o };
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
    const overlap = (x, y, w, h, a, t, b, u) =>
      Math.max(0, Math.min(x + w, b) - Math.max(x, a)) * Math.max(0, Math.min(y + h, u) - Math.max(y, t));
    for (const { a, b, t, u, o, named } of regions) {
      const text = narrow ? o.brief : o.tag;
      if (!named || !text || !o.tag) continue;
      const w = Math.ceil(ctx.measureText(text).width) + 15, h = 17, m = (a + b) / 2;
      const spots = [
        [m - w / 2, t - h - 3],
        [m - w / 2, u + 3],
        [b + 3, (t + u - h) / 2],
        [a - w - 3, (t + u - h) / 2],
        [a, t - 2 * h - 5],
        [b - w, u + h + 5],
        [m - w / 2, t - 3 * h - 7],
        [m - w / 2, u + 2 * h + 7],
      ];
      let best = null, least = 1e9;
      for (const [sx, sy] of spots) {
        const x = Math.min(Math.max(sx, plot.x + 2), plot.x + plot.w - w - 2);
        const y = Math.min(Math.max(sy, plot.y + 2), plot.y + plot.h - h - 2);
        let cost = Math.abs(x - sx) + Math.abs(y - sy);
        for (const r of placed) cost += overlap(x, y, w, h, r.x, r.y, r.x + r.w, r.y + r.h) * 4;
        for (const r of regions) cost += overlap(x, y, w, h, r.a, r.t, r.b, r.u) * 0.6;
        if (cost < least) {
          least = cost;
          best = { x, y, w, h };
          if (cost === 0) break;
        }
      }
      if (least > 2500) continue; // better no tag than an unreadable heap: the list names every source
      placed.push(best);
      ctx.fillStyle = "rgba(12,14,20,.82)";
      ctx.beginPath();
      ctx.roundRect(best.x, best.y, w, h, 3.5);
      ctx.fill();
      ctx.fillStyle = o.bright;
      ctx.fillRect(best.x + 4, best.y + 4, 3, h - 8);
      ctx.fillStyle = "#f4f5f7";
      ctx.fillText(text, best.x + 11, best.y + h / 2 + 0.5);
    }
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

  // Colour scale in the title row.
  legend(lut, ticks) {
    const c = this.bar, dpr = window.devicePixelRatio || 1, theme = this.player.theme;
    const w = lut ? 150 : 0, h = 20;
    c.style.width = `${w}px`;
    c.style.height = `${h}px`;
    c.width = w * dpr;
    c.height = h * dpr;
    if (!lut) return;
    const ctx = c.getContext("2d");
    ctx.scale(dpr, dpr);
    const x0 = 26, n = 98;
    for (let i = 0; i < n; i++) {
      const v = lut[Math.round((i / (n - 1)) * (lut.length - 1))];
      ctx.fillStyle = `rgb(${v & 255},${(v >> 8) & 255},${(v >> 16) & 255})`;
      ctx.fillRect(x0 + i, 6, 1.5, 8);
    }
    ctx.strokeStyle = theme.line;
    ctx.strokeRect(x0 - 0.5, 5.5, n + 1.5, 9);
    ctx.font = `10.5px ${theme.font}`;
    ctx.fillStyle = theme.dim;
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    ctx.fillText(ticks[0], x0 - 4, 10.5);
    ctx.textAlign = "left";
    ctx.fillText(ticks[1], x0 + n + 5, 10.5);
  }
}

/** @param {import("./player.js").Player} player @returns {import("./erp_view.js").Host} */
function hostOf(player) {
  return {
    get camera() {
      return player.view;
    },
    look: (camera) => player.look(camera),
    reset: () => player.resetView(),
    focus: () => player.focus(),
    release: (at, moved) => {
      if (!moved && at) player.sources.pick(at.inside ? at : null);
    },
    hover: (at) => player.hover(at),
  };
}
