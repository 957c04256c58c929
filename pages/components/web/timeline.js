// @ts-check
// Lanes of classes with label and prediction bars, error marks, spectrogram, one cursor.

import { clock } from "./words.js";

const GUTTER = 92, RULER = 17, SPECTROGRAM = 46, TIME_RIGHT = 10;

/** @typedef {{kind: number, c: number, from: number, to: number}} ErrorRun  An event: errors of one kind and class. */

/**
 * Runs of frames in which a class occurs, by class.
 * @param {ArrayLike<number>} frame Rising. @param {ArrayLike<number>} category
 */
export function laneRuns(frame, category) {
  /** @type {Map<number, [number, number][]>} */
  const lanes = new Map();
  for (let i = 0; i < frame.length; i++) {
    const runs = lanes.get(category[i]) || [], run = runs[runs.length - 1];
    if (run && frame[i] <= run[1]) run[1] = Math.max(run[1], frame[i] + 1);
    else runs.push([frame[i], frame[i] + 1]);
    lanes.set(category[i], runs);
  }
  return lanes;
}

const LEAST_SPAN = 20; // frames

/** The stretch of frames in sight. */
export class TimeAxis {
  /** @param {number} frames Of the recording. */
  constructor(frames) {
    this.frames = Math.max(1, frames);
    this.from = 0;
    this.to = this.frames;
  }

  get span() {
    return this.to - this.from;
  }

  /** Zoom about a frame. @param {number} frame @param {number} factor Of the span. */
  zoom(frame, factor) {
    const centre = Math.min(Math.max(frame, this.from), this.to), share = (centre - this.from) / this.span;
    const span = Math.min(Math.max(this.span * factor, Math.min(LEAST_SPAN, this.frames)), this.frames);
    this.from = centre - share * span;
    this.to = this.from + span;
    this.move(0);
  }

  /** @param {number} frames */
  move(frames) {
    const { span } = this;
    this.from = Math.min(Math.max(this.from + frames, 0), Math.max(0, this.frames - span));
    this.to = this.from + span;
  }

  /** Keep a frame in sight; whether that moved it. @param {number} frame */
  follow(frame) {
    const { span } = this;
    if (span >= this.frames || (frame >= this.from && frame < this.to - span * 0.04)) return false;
    this.move(frame - this.from - span * 0.1);
    return true;
  }
}

export class Timeline {
  constructor(player, canvas) {
    this.player = player;
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    /** @type {{cls: any, runs: Record<string, [number, number][]>}[]} */
    this.lanes = [];
    this.dirty = true;
    this.width = this.height = 0;
    this.axis = new TimeAxis(1);
    /** @type {any} */
    this.spectrogram = null;
    /** Of a direction or a source. @type {any} */
    this.directed = null;
    /** @type {ErrorRun[]} */
    this.errors = [];
    this.layer = document.createElement("canvas"); // everything but the cursor
    this.bind();
  }

  // Lanes of the classes that occur; runs of frames per table and class.
  load(scene) {
    const runs = Object.fromEntries(
      scene.tables.map((t) => [t, laneRuns(scene.columns[t].frame, scene.columns[t].category)]),
    );
    this.lanes = scene.header.classes
      .map((cls) => ({ cls, runs: Object.fromEntries(scene.tables.map((t) => [t, runs[t].get(cls.id) || []])) }))
      .filter((lane) => scene.tables.some((t) => lane.runs[t].length));
    this.resetZoom();
  }

  resetZoom() {
    this.axis = new TimeAxis(this.player.nFrames);
    this.dirty = true;
  }

  /** @param {ErrorRun[]} errors Events, in the order in which they begin. */
  setErrors(errors) {
    this.errors = errors;
    this.dirty = true;
  }

  resize(width, height) {
    const dpr = window.devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    for (const c of [this.canvas, this.layer]) {
      c.width = Math.round(width * dpr);
      c.height = Math.round(height * dpr);
    }
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.dirty = true;
  }
  get plotWidth() {
    return this.width - GUTTER - TIME_RIGHT;
  }
  toX(frame) {
    return GUTTER + ((frame - this.axis.from) / this.axis.span) * this.plotWidth;
  }
  toFrame(x) {
    return this.axis.from + ((x - GUTTER) / this.plotWidth) * this.axis.span;
  }
  get specTop() {
    return this.height - SPECTROGRAM - 5;
  }
  // Height that shows the lanes comfortably.
  get wanted() {
    const n = Math.max(this.lanes.length, 3);
    return RULER + SPECTROGRAM + 12 + n * (n <= 5 ? 19 : n <= 8 ? 15 : 11.5);
  }
  // Height below which the names of the lanes run into each other.
  get least() {
    return RULER + SPECTROGRAM + 12 + this.lanes.length * 9;
  }
  get laneHeight() {
    return this.lanes.length ? Math.min(24, (this.specTop - RULER - 5) / this.lanes.length) : 0;
  }

  bind() {
    const c = this.canvas;
    let drag = null;
    const frameAt = (e) => this.toFrame(e.clientX - c.getBoundingClientRect().left);
    const clamp = (f) => Math.min(Math.max(Math.floor(f), 0), this.player.nFrames - 1);
    c.addEventListener("pointerdown", (e) => {
      this.player.focus();
      c.setPointerCapture(e.pointerId);
      drag = { mark: e.shiftKey, from: frameAt(e) };
      if (!drag.mark) this.player.seek(clamp(drag.from));
    });
    c.addEventListener("pointermove", (e) => {
      if (!drag) return;
      const f = frameAt(e);
      if (drag.mark) this.player.setLoop(clamp(Math.min(drag.from, f)), clamp(Math.max(drag.from, f)) + 1);
      else this.player.seek(clamp(f));
    });
    const end = () => {
      drag = null;
    };
    c.addEventListener("pointerup", end);
    c.addEventListener("pointercancel", end);
    c.addEventListener("dblclick", () => {
      this.resetZoom();
      this.player.stage.invalidate();
    });
    c.addEventListener(
      "wheel",
      (e) => {
        e.preventDefault();
        const along = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
        if (along) this.axis.move(((e.deltaX || e.deltaY) / this.plotWidth) * this.axis.span);
        else this.axis.zoom(frameAt(e), Math.exp(e.deltaY * 0.0016));
        this.dirty = true;
        this.player.stage.invalidate();
      },
      { passive: false },
    );
  }
  // Keep the cursor in sight when zoomed in.
  follow(frame) {
    if (this.axis.follow(frame)) this.dirty = true;
  }

  mark(ctx, kind, x, y, theme, r = 3.2) {
    ctx.lineWidth = 4;
    ctx.strokeStyle = theme.bg;
    ctx.lineJoin = "round";
    ctx.lineCap = "round";
    const shape = () => {
      ctx.beginPath();
      if (kind === 0) ctx.arc(x, y, r, 0, 7);
      else if (kind === 1) {
        const d = r * 0.9;
        ctx.moveTo(x - d, y - d);
        ctx.lineTo(x + d, y + d);
        ctx.moveTo(x + d, y - d);
        ctx.lineTo(x - d, y + d);
      } else {
        const d = r * 1.2;
        ctx.moveTo(x, y - d);
        ctx.lineTo(x + d, y);
        ctx.lineTo(x, y + d);
        ctx.lineTo(x - d, y);
        ctx.closePath();
      }
    };
    shape();
    ctx.stroke();
    if (kind === 0) {
      ctx.fillStyle = theme.bg;
      ctx.fill();
    }
    ctx.lineWidth = r < 3 ? 1.5 : 1.8;
    ctx.strokeStyle = theme.errors[kind];
    ctx.fillStyle = theme.errors[kind];
    if (kind === 2) ctx.fill();
    ctx.stroke();
    ctx.lineCap = "butt";
  }

  paint() {
    const { player } = this, theme = player.theme, dpr = window.devicePixelRatio || 1,
      ctx = this.layer.getContext("2d");
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.width, this.height);
    const left = GUTTER, right = this.width - TIME_RIGHT, lh = this.laneHeight;
    // ruler
    const { fps } = player;
    const seconds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120];
    const perSecond = (this.plotWidth / (this.axis.span)) * fps;
    const step = seconds.find((s) => s * perSecond >= 58) || 300;
    ctx.font = `10.5px ${theme.font}`;
    ctx.fillStyle = theme.dim;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let s = Math.ceil(this.axis.from / fps / step) * step; s * fps <= this.axis.to + 1e-6; s += step) {
      const x = Math.round(this.toX(s * fps)) + 0.5;
      ctx.moveTo(x, RULER);
      ctx.lineTo(x, this.height - 5);
      const text = clock(s, step < 1 ? 1 : 0), half = ctx.measureText(text).width / 2;
      ctx.fillText(text, Math.min(x, right - half + 8), RULER / 2 + 1);
    }
    ctx.stroke();
    // lanes
    const systems = player.shown.length > 3 ? [player.lead] : player.shown; // more would be hairlines
    this.lanes.forEach((lane, i) => {
      const y = RULER + i * lh;
      ctx.strokeStyle = theme.faint;
      ctx.beginPath();
      ctx.moveTo(8, y + 0.5);
      ctx.lineTo(right, y + 0.5);
      ctx.stroke();
      ctx.textAlign = "right";
      ctx.fillStyle = theme.fg;
      ctx.font = `${lh < 11 ? 9.5 : 11.5}px ${theme.font}`;
      ctx.fillText(lane.cls.short, left - 16, y + lh / 2 + 0.5);
      ctx.fillStyle = lane.cls.color;
      ctx.fillRect(left - 11, y + lh / 2 - 3.5, 7, 7);
      const rows = ["L", ...systems], gap = 1.5, top = y + Math.min(3, lh * 0.14),
        room = lh - Math.min(3, lh * 0.14) - 3.4;
      const labelHeight = Math.max(2, room * (rows.length === 2 ? 0.56 : 0.44));
      let at = top;
      rows.forEach((t, k) => {
        const h = k === 0 ? labelHeight : Math.max(1.5, (room - labelHeight) / systems.length - gap);
        ctx.fillStyle = lane.cls.color;
        ctx.globalAlpha = k === 0 ? 0.95 : 0.5;
        for (const [a, b] of lane.runs[t] || []) {
          const xa = Math.max(this.toX(a), left), xb = Math.min(this.toX(b), right);
          if (xb > left && xa < right) ctx.fillRect(xa, at, Math.max(xb - xa, 1), h);
        }
        ctx.globalAlpha = 1;
        at += h + gap;
      });
    });
    // errors: a line along the run and one mark at its start (marks keep their distance)
    const laneOf = new Map(this.lanes.map((l, i) => [l.cls.id, i])), lastMark = new Map();
    for (const run of this.errors) {
      const i = laneOf.get(run.c);
      if (i === undefined || run.to < this.axis.from || run.from > this.axis.to) continue;
      const y = RULER + i * lh + lh / 2, xa = Math.max(this.toX(run.from), left),
        xb = Math.min(this.toX(run.to), right);
      ctx.fillStyle = theme.errors[run.kind];
      ctx.fillRect(xa, RULER + (i + 1) * lh - 2.2, Math.max(xb - xa, 1), 1.8);
      const x = this.toX((Math.min(run.to, run.from + 1) + run.from) / 2);
      // many short errors would bury the bars: then the lines alone show where, and zooming in brings the marks back
      if (x < left || x > right || x - (lastMark.get(i) ?? -99) < 26) continue;
      lastMark.set(i, x);
      this.mark(ctx, run.kind, x, y, theme, Math.min(3.4, Math.max(2.3, lh * 0.24)));
    }
    if (!this.lanes.length) {
      ctx.fillStyle = theme.dim;
      ctx.font = `12.5px ${theme.font}`;
      ctx.textAlign = "center";
      ctx.fillText(
        player.nothing ||
          "No labels and no predictions: choose a prediction set above, or add " +
            "labels_dev/<split>/<recording>_std.json.",
        (left + right) / 2,
        (RULER + this.specTop) / 2,
        right - left - 20,
      );
    }
    // spectrogram
    const top = this.specTop;
    ctx.textAlign = "right";
    ctx.fillStyle = theme.dim;
    ctx.font = `10.5px ${theme.font}`;
    const { title, ready } = player.hearing.spectrogram, shown = ready ? this.directed : this.spectrogram;
    if (shown) {
      const image = shown.canvas, per = image.width / shown.frames;
      ctx.imageSmoothingEnabled = true;
      const a = Math.max(0, this.axis.from), b = Math.min(this.axis.to, shown.frames);
      if (b > a) {
        ctx.drawImage(
          image,
          a * per,
          0,
          (b - a) * per,
          image.height,
          this.toX(a),
          top,
          this.toX(b) - this.toX(a),
          SPECTROGRAM,
        );
      }
      ctx.fillText(shown.top, left - 6, top + 5);
      ctx.fillText("0 Hz", left - 6, top + SPECTROGRAM - 5);
      ctx.fillText("Sound", left - 6, top + SPECTROGRAM / 2);
      if (title) this.plate(title, left + 5, top + 5);
    } else {
      ctx.textAlign = "center";
      ctx.fillText(player.audioMessage, (left + right) / 2, top + SPECTROGRAM / 2);
    }
    ctx.strokeStyle = theme.line;
    ctx.strokeRect(left - 0.5, top - 0.5, right - left + 1, SPECTROGRAM + 1);
    if (player.loop) {
      const a = this.toX(player.loop[0]), b = this.toX(player.loop[1]);
      ctx.fillStyle = theme.accent;
      ctx.globalAlpha = player.loopOn ? 0.16 : 0.08;
      ctx.fillRect(a, RULER, b - a, this.height - RULER - 5);
      ctx.globalAlpha = player.loopOn ? 1 : 0.5;
      ctx.fillRect(a, RULER - 3, b - a, 3);
      ctx.globalAlpha = 1;
    }
    this.dirty = false;
  }

  // Words on the spectrogram: of what it is.
  plate(text, x, y) {
    const ctx = this.layer.getContext("2d"), width = ctx.measureText(text).width + 10;
    ctx.fillStyle = "rgba(12,14,20,.82)";
    ctx.beginPath();
    ctx.roundRect(x, y, width, 16, 3.5);
    ctx.fill();
    ctx.fillStyle = "#f4f5f7";
    ctx.textAlign = "left";
    ctx.fillText(text, x + 5, y + 8.5);
  }

  draw() {
    if (!this.width) return;
    if (this.dirty) this.paint();
    const { ctx, player } = this, theme = player.theme, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, this.canvas.width, this.canvas.height);
    ctx.drawImage(this.layer, 0, 0);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    const x0 = this.toX(player.frame), x1 = this.toX(player.frame + 1), x = (x0 + x1) / 2;
    if (x < GUTTER - 1 || x > this.width - TIME_RIGHT + 1) return;
    ctx.fillStyle = theme.accent;
    ctx.globalAlpha = 0.22;
    ctx.fillRect(x0, RULER, Math.max(x1 - x0, 1), this.height - RULER - 5);
    ctx.globalAlpha = 1;
    ctx.fillRect(x - 0.75, RULER - 3, 1.5, this.height - RULER - 2);
    const text = clock(player.frame / player.fps, 1);
    ctx.font = `600 10.5px ${theme.font}`;
    const w = ctx.measureText(text).width + 10;
    const bx = Math.min(Math.max(x - w / 2, GUTTER - 8), this.width - w - 2);
    ctx.beginPath();
    ctx.roundRect(bx, 1, w, RULER - 3, 4);
    ctx.fill();
    ctx.fillStyle = theme.onAccent;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(text, bx + w / 2, RULER / 2 + 0.5);
  }
}
