// @ts-check
// A view from inside the sphere: the picture as one sees it when one turns the head, regions without the canvas's
// distortion, a compass, and a small canvas that shows where one looks. The player's panel is one.

import { banded, ErpView } from "./erp_view.js";
import {
  dragged, edgeOf, inView, lineThrough, onSphere, Perspective, pointAlong, settledGaze, vectorAt,
} from "./gaze.js";
import { direction, pointOf, shortest } from "./geometry.js";
import { borrowLens, PlainLens, returnLens } from "./lens.js";

/**
 * @typedef {import("./gaze.js").Gaze} Gaze
 * @typedef {import("./gaze.js").Line} Line
 * @typedef {object} LookHost  Who owns the gaze; the rest as of any view of the canvas.
 * @property {Gaze} gaze
 * @property {(gaze: Partial<Gaze>, begins: boolean) => void} turn  `begins`: the first of a gesture.
 * @property {() => void} reset  What was seen first.
 */

const ROSE_STEPS = [5, 10, 15, 30], APART = 46; // degrees; least pixels between words of the compass
const REST = 700; // milliseconds without a turn of the wheel, after which another gesture begins
const EARTH = Array.from({ length: 11 }, (_, k) => 15 * k - 75);

/** Lines of the sphere that are drawn again and again, by their words. @type {Map<string, Line>} */
const fixedLines = new Map();

/** @param {"level" | "upright"} kind @param {number} degrees */
function fixedLine(kind, degrees) {
  const name = `${kind}${degrees}`;
  let line = fixedLines.get(name);
  if (!line) {
    const turns = (/** @type {number} */ n) => Array.from({ length: n }, (_, k) => k);
    const xyz =
      kind === "level"
        ? lineThrough(turns(120).map((k) => [k * 3, degrees]))
        : lineThrough(turns(61).map((k) => [degrees, k * 3 - 90]));
    line = { xyz, closed: kind === "level" };
    fixedLines.set(name, line);
  }
  return line;
}

/** Outlines of the canvas as lines of the sphere. @type {WeakMap<Float32Array, Line[]>} */
const linesOf = new WeakMap();

/** @param {number} v */
function degreesOf(v) {
  return v === 0 ? "0°" : `${v > 0 ? "+" : "−"}${Math.abs(v)}°`;
}

export class LookView extends ErpView {
  /**
   * @param {HTMLCanvasElement} canvas  Transparent, over the picture.
   * @param {import("./erp_view.js").Host} host @param {LookHost} look @param {import("./geometry.js").Size} size
   */
  constructor(canvas, host, look, size) {
    /** A drag on the small canvas turns the view; all others are the owner's, and then the view's. */
    let steering = false;
    super(canvas, {
      camera: { x: 0, y: 0, z: 1 },
      look() {},
      reset: () => look.reset(),
      focus: () => host.focus(),
      press: (at, event) => {
        steering = this.onInset(...this.pixel(event));
        if (steering) this.steer(event, true);
        return steering || (!!host.press && host.press(at, event));
      },
      drag: (at, event) => (steering ? this.steer(event, false) : host.drag(at, event)),
      release: (at, moved) => {
        if (!steering) host.release(at, moved);
        steering = false;
      },
      hover: (at, since) => host.hover(at, since),
    }, size, { maxZoom: 1 });
    this.look = look;
    /** @type {ReturnType<typeof borrowLens>} */
    this.lens = null;
    /** @type {PlainLens | null} */
    this.plain = null;
    /** Vector that a drag holds. @type {ArrayLike<number>} */
    this.held = [1, 0, 0];
    this.turnedAt = -Infinity;
    this.inset = { x: 0, y: 0, w: 0, h: 0 };
    this.rose = document.createElement("canvas").getContext("2d");
    canvas.tabIndex = 0;
    canvas.addEventListener("keydown", (e) => this.key(e));
  }

  /** The view comes onto the page. @param {() => void} changed  It must be drawn again. */
  open(changed) {
    this.lens ||= borrowLens(changed);
    if (this.lens && !this.lens.canvas.isConnected) this.canvas.before(this.lens.canvas);
  }

  /** It leaves the page: another one may have the graphics card. */
  close() {
    returnLens(this.lens);
    this.lens = null;
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    super.resize(width, height);
    const w = Math.round(Math.min(Math.max(width * 0.26, 92), 190, width * 0.4));
    this.inset = { x: width - w - 7, y: height - w / 2 - 7, w, h: w / 2 };
    if (this.lens) Object.assign(this.lens.canvas.style, { width: `${width}px`, height: `${height}px` });
  }

  get perspective() {
    return new Perspective(this.look.gaze, this.width, this.height);
  }

  /** The edge of what is seen, on the canvas. */
  get edge() {
    const { yaw, pitch, fov } = this.look.gaze, key = [yaw, pitch, fov, this.width, this.height].join();
    if (key !== this.edgeKey) this.edgeKnown = edgeOf(this.perspective, this.size);
    this.edgeKey = key;
    return this.edgeKnown;
  }

  // ---------- pointer and keys ----------
  /** @param {number} px @param {number} py */
  at(px, py) {
    const point = pointAlong(this.perspective.along(px, py), this.size), { width } = this.size;
    // columns go on over the seam as they do on the canvas: those of the view are near what is straight ahead
    const middle = pointOf(this.look.gaze.yaw, 0, this.size).x;
    const inside = px >= 0 && py >= 0 && px < this.width && py < this.height && !this.onInset(px, py);
    return { ...point, rawX: middle + shortest(point.x - middle, width), inside };
  }

  /** @param {number} px @param {number} py */
  onInset(px, py) {
    const { x, y, w, h } = this.inset;
    return px >= x && py >= y && px < x + w && py < y + h;
  }

  /** @param {MouseEvent} event @returns {[number, number]} */
  pixel(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Look where the small canvas says. @param {MouseEvent} event @param {boolean} begins */
  steer(event, begins) {
    const [px, py] = this.pixel(event), { x, y, w, h } = this.inset, { width, height } = this.size;
    this.look.turn(gazeAt({ x: ((px - x) / w) * width, y: ((py - y) / h) * height }, this.size), begins);
  }

  /** What was taken hold of stays under the pointer. */
  pull(event, from, begins) {
    if (begins) this.held = vectorAt(from.x, from.y, this.size);
    this.look.turn(dragged(this.look.gaze, this.width, this.height, this.held, ...this.pixel(event)), begins);
  }

  /** @param {WheelEvent} event */
  roll(event) {
    const [px, py] = this.pixel(event), held = this.perspective.along(px, py);
    const gaze = settledGaze({ ...this.look.gaze, fov: this.look.gaze.fov * Math.exp(event.deltaY * 0.0012) });
    this.go(dragged(gaze, this.width, this.height, held, px, py), event.timeStamp);
  }

  /** @param {number} factor */
  zoom(factor) {
    this.go({ fov: this.look.gaze.fov / factor });
  }

  /** One of several small turns, which are a gesture together. @param {Partial<Gaze>} gaze */
  go(gaze, now = performance.now()) {
    this.look.turn(gaze, now - this.turnedAt > REST);
    this.turnedAt = now;
  }

  /** Keys while the view has the focus. @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { yaw, pitch, fov } = this.look.gaze, by = event.shiftKey ? fov / 3 : fov / 18;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.go({ yaw: yaw + by }),
      ArrowRight: () => this.go({ yaw: yaw - by }),
      ArrowUp: () => this.go({ pitch: pitch + by }),
      ArrowDown: () => this.go({ pitch: pitch - by }),
      "+": () => this.zoom(1.15),
      "=": () => this.zoom(1.15),
      "-": () => this.zoom(1 / 1.15),
      "−": () => this.zoom(1 / 1.15),
      0: () => this.look.reset(),
      Escape: () => this.host.focus(),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  // ---------- drawing ----------
  /** The picture, and a clear canvas over it. @param {import("./lens.js").Layers} layers */
  see(layers) {
    const { ctx, width, height } = this, dpr = window.devicePixelRatio || 1;
    this.view = this.perspective;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, width, height);
    ctx.lineJoin = "round";
    if (this.fast) {
      this.lens.draw(this.view, layers);
      return;
    }
    this.plain ||= new PlainLens();
    this.plain.draw(this.view, layers);
    ctx.imageSmoothingEnabled = true;
    ctx.drawImage(this.plain.canvas, 0, 0, width, height);
  }

  /** The picture comes from the graphics card. */
  get fast() {
    return !!this.lens && this.lens.ready;
  }

  /** The view as one picture. @param {import("./lens.js").Layers} layers */
  snapshot(layers) {
    if (!this.fast) return this.canvas;
    const out = document.createElement("canvas"), ctx = out.getContext("2d");
    Object.assign(out, { width: this.canvas.width, height: this.canvas.height });
    this.lens.draw(this.perspective, layers, true);
    for (const part of [this.lens.canvas, this.canvas]) ctx.drawImage(part, 0, 0, out.width, out.height);
    return out;
  }

  /**
   * Lines of the sphere, added to a path.
   * @param {CanvasRenderingContext2D} ctx @param {Line[]} lines @param {(x: number, y: number) => void} [each]
   */
  path(ctx, lines, each) {
    for (const line of lines) {
      for (const { xy, closed } of inView(line, this.view)) {
        ctx.moveTo(xy[0], xy[1]);
        for (let i = 0; i < xy.length; i += 2) {
          if (i) ctx.lineTo(xy[i], xy[i + 1]);
          if (each) each(xy[i], xy[i + 1]);
        }
        if (closed) ctx.closePath();
      }
    }
  }

  /**
   * Closed lines of the canvas as they are on the sphere; a region of one point is a ring.
   * @param {Float32Array[]} lines @param {{dx: number, dy: number}} [shift] Canvas pixels.
   * @returns {{a: number, b: number, t: number, u: number, top: number} | null} What they cover on the screen, if they
   *   are in sight; `top`: where their highest point is.
   */
  trace(lines, shift) {
    const { ctx, size, view } = this;
    let a = Infinity, b = -Infinity, t = Infinity, u = -Infinity, top = 0;
    const each = (/** @type {number} */ x, /** @type {number} */ y) => {
      a = Math.min(a, x);
      b = Math.max(b, x);
      if (y < t) [t, top] = [y, x];
      u = Math.max(u, y);
    };
    ctx.beginPath();
    for (const given of lines) {
      const line = shift ? given.map((v, i) => v + (i % 2 ? shift.dy : shift.dx)) : given;
      if (line.length > 2) {
        this.path(ctx, spherical(line, size), each);
        continue;
      }
      const v = vectorAt(line[0], line[1], size);
      if (!view.sees(v)) continue;
      const { x, y } = view.project(v);
      ctx.moveTo(x + 4, y);
      ctx.arc(x, y, 4, 0, 7);
      each(x - 4, y - 4);
      each(x + 4, y + 4);
    }
    return a > b || b < 0 || a > this.width || u < 0 || t > this.height ? null : { a, b, t, u, top };
  }

  /** Horizon with azimuths, and faint lines of azimuth and elevation: drawn once for each gaze. @param {string} font */
  compass(font) {
    const { width, height } = this.canvas, { yaw, pitch, fov } = this.look.gaze;
    const key = [yaw, pitch, fov, width, height, font].join(), sheet = this.rose.canvas;
    if (key !== this.roseKey) {
      Object.assign(sheet, { width, height });
      this.drawCompass(this.rose, font);
    }
    this.roseKey = key;
    if (width && height) this.ctx.drawImage(sheet, 0, 0, this.width, this.height);
  }

  /** @param {CanvasRenderingContext2D} ctx @param {string} font */
  drawCompass(ctx, font) {
    const { view, width, height } = this, { yaw, pitch } = this.look.gaze, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    const perDegree = (view.focal * Math.PI) / 180;
    const step = ROSE_STEPS.find((d) => d * perDegree >= APART) || 45;
    ctx.lineWidth = 1;
    ctx.strokeStyle = "rgba(255,255,255,.15)";
    ctx.beginPath();
    this.path(ctx, EARTH.filter(Boolean).map((e) => fixedLine("level", e)));
    this.path(ctx, Array.from({ length: 12 }, (_, k) => fixedLine("upright", 30 * k)));
    ctx.stroke();
    const band = { band: "rgba(0,0,0,.4)", halo: 2 };
    ctx.beginPath();
    this.path(ctx, [fixedLine("level", 0)]);
    banded(ctx, "rgba(255,255,255,.8)", { ...band, width: 1 });
    // words stand on the horizon; where it is out of sight, on the line of elevation nearest to the middle
    const sight = (/** @type {number} */ e) => {
      const v = fixedVector(yaw, e);
      if (view.depth(v) < 0.2) return false;
      const { y } = view.project(v);
      return y > 26 && y < height - 8;
    };
    const level = sight(0) ? 0 : EARTH.filter(sight).sort((p, q) => Math.abs(p - pitch) - Math.abs(q - pitch))[0];
    if (level === undefined) return;
    const room = step / Math.max(Math.cos((level * Math.PI) / 180), 0.2);
    const apart = ROSE_STEPS.find((d) => d >= room) || 45;
    const tick = apart / (apart % 3 ? 5 : 3), ticks = Math.round(360 / tick), long = 7 / perDegree;
    ctx.font = `10.5px ${font}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "alphabetic";
    ctx.beginPath();
    /** @type {[string, number, number][]} */
    const words = [];
    for (let k = 0; k < ticks; k++) {
      const a = k * tick - 180, named = Math.abs(a / apart - Math.round(a / apart)) < 1e-6;
      const v = fixedVector(a, level);
      if (!view.sees(v)) continue;
      const foot = view.project(v), head = view.project(fixedVector(a, level + long * (named ? 1 : 0.6)));
      ctx.moveTo(foot.x, foot.y);
      ctx.lineTo(head.x, head.y);
      if (named) words.push([a === -180 ? "±180°" : degreesOf(Math.round(a)), head.x, head.y - 4]);
    }
    banded(ctx, "#fff", { ...band, width: 1.2 });
    if (level) {
      const { x, y } = view.project(fixedVector(yaw, level));
      words.push([`elevation ${degreesOf(level)}`, x, Math.min(y + 16, height - 4)]);
    }
    ctx.strokeStyle = "rgba(0,0,0,.6)";
    ctx.lineWidth = 2.5;
    ctx.fillStyle = "#fff";
    /** @type {[number, number, number][]} */
    const written = [];
    for (const [text, x, y] of words.reverse()) {
      const half = ctx.measureText(text).width / 2 + 2;
      if (x < half || x > width - half || y < 10) continue; // whole or not at all
      if (written.some(([a, b, c]) => Math.abs(x - a) < half + c && Math.abs(y - b) < 12)) continue;
      written.push([x, y, half]);
      ctx.strokeText(text, x, y);
      ctx.fillText(text, x, y);
    }
  }

  /** A cross at a canvas point, where it is in sight. @param {import("./geometry.js").Point} point */
  mark({ x, y }) {
    const { ctx } = this, v = vectorAt(x, y, this.size);
    if (!this.view.sees(v)) return;
    const at = this.view.project(v);
    ctx.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      ctx.moveTo(at.x + 3 * dx, at.y + 3 * dy);
      ctx.lineTo(at.x + 10 * dx, at.y + 10 * dy);
    }
    this.stroke("#fff", { band: "rgba(0,0,0,.6)", halo: 2, width: 1.3 });
  }

  /** The small canvas that shows where one looks. @param {any} picture @param {string} accent */
  miniature(picture, accent) {
    const { ctx } = this, { x, y, w, h } = this.inset, { width, height } = this.size;
    ctx.save();
    ctx.beginPath();
    ctx.roundRect(x, y, w, h, 3);
    ctx.fillStyle = "#14161c";
    ctx.fill();
    ctx.clip();
    if (picture) ctx.drawImage(picture, x, y, w, h);
    const toX = (/** @type {number} */ v) => x + (v / width) * w;
    ctx.beginPath();
    traceEdge(ctx, this.edge, width, toX, (v) => y + (v / height) * h, [0, width]);
    this.stroke("#fff", { band: "rgba(0,0,0,.7)", halo: 2, width: 1.4 });
    const at = pointOf(this.look.gaze.yaw, this.look.gaze.pitch, this.size);
    ctx.beginPath();
    ctx.arc(toX(at.x), y + (at.y / height) * h, 2.6, 0, 7);
    ctx.fillStyle = accent;
    ctx.fill();
    this.stroke("#fff", { band: "rgba(0,0,0,.6)", halo: 1.5, width: 1 });
    ctx.restore();
    ctx.strokeStyle = "rgba(255,255,255,.55)";
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.roundRect(x - 0.5, y - 0.5, w + 1, h + 1, 3);
    ctx.stroke();
  }
}

/** @param {Float32Array} line @param {import("./geometry.js").Size} size */
function spherical(line, size) {
  let lines = linesOf.get(line);
  if (!lines) linesOf.set(line, (lines = onSphere(line, size)));
  return lines;
}

/** @param {number} azimuth @param {number} elevation Degrees. */
function fixedVector(azimuth, elevation) {
  return lineThrough([[azimuth, elevation]]);
}

/** Where one looks to have a canvas point straight ahead. @param {import("./geometry.js").Point} point */
export function gazeAt(point, /** @type {import("./geometry.js").Size} */ size) {
  const { azimuth, elevation } = direction(point, size);
  return { yaw: azimuth, pitch: elevation };
}

/**
 * The edge of a view as a path, on every copy of the canvas that is in sight.
 * @param {CanvasRenderingContext2D} ctx @param {ReturnType<typeof edgeOf>} edge @param {number} width Of the canvas.
 * @param {(x: number) => number} toX @param {(y: number) => number} toY @param {[number, number]} sight First and last
 *   column that is in sight.
 */
export function traceEdge(ctx, { line, closed, from, to }, width, toX, toY, [first, last]) {
  for (let k = Math.ceil((first - to) / width); k <= (last - from) / width; k++) {
    ctx.moveTo(toX(line[0] + k * width), toY(line[1]));
    for (let i = 2; i < line.length; i += 2) ctx.lineTo(toX(line[i] + k * width), toY(line[i + 1]));
    if (closed) ctx.closePath();
  }
}
