// @ts-check
// One view of the equirectangular canvas: zoom and pan through the seam, outlines, graticule, hit testing. The player's
// panels and the review desk are made of it.

import { clamp, settled, wrap, zoomed } from "./geometry.js";

/**
 * @typedef {import("./geometry.js").Camera} Camera
 * @typedef {import("./geometry.js").Size} Size
 * @typedef {{x: number, y: number, rawX: number, inside: boolean}} Place  A canvas point; `rawX` is not wrapped.
 * @typedef {object} Host  Who owns the camera, which several views may share.
 * @property {Camera} camera
 * @property {(camera: Camera) => void} look  Takes a camera over and draws.
 * @property {() => void} reset  Shows the whole canvas.
 * @property {() => void} focus
 * @property {(at: Place, event: PointerEvent) => boolean} [press]  Whether a drag is the host's own from here on.
 * @property {(at: Place, event: PointerEvent) => void} [drag]  Of a drag that is the host's own.
 * @property {(at: Place | null, moved: boolean) => void} release  `null`: it was broken off.
 * @property {(at: Place | null, since?: number) => void} hover  `since`: time of the event.
 */

export const NO_MARGIN = { left: 0, right: 0, top: 0, bottom: 0 };

export class ErpView {
  /**
   * @param {HTMLCanvasElement} canvas @param {Host} host @param {Size} size
   * @param {{maxZoom: number, margin?: typeof NO_MARGIN}} options
   */
  constructor(canvas, host, size, { maxZoom, margin = NO_MARGIN }) {
    this.canvas = canvas;
    this.host = host;
    this.size = size;
    this.maxZoom = maxZoom;
    this.margin = margin;
    this.ctx = canvas.getContext("2d");
    this.width = this.height = 0;
    this.plot = { x: 0, y: 0, w: 0, h: 0 };
    this.bind();
  }

  /** @param {number} width @param {number} height Of the element, in CSS pixels. */
  resize(width, height) {
    const dpr = window.devicePixelRatio || 1, { left, right, top, bottom } = this.margin;
    this.width = width;
    this.height = height;
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.canvas.width = Math.round(width * dpr);
    this.canvas.height = Math.round(height * dpr);
    this.plot = { x: left, y: top, w: width - left - right, h: height - top - bottom };
  }

  /** Screen pixels per canvas pixel. */
  get scale() {
    return Math.min(this.plot.w / this.size.width, this.plot.h / this.size.height) * this.host.camera.z;
  }

  /** @param {number} x */
  toX(x) {
    return this.plot.x + this.plot.w / 2 + (x - this.host.camera.x) * this.scale;
  }

  /** @param {number} y */
  toY(y) {
    return this.plot.y + this.plot.h / 2 + (y - this.host.camera.y) * this.scale;
  }

  /** Canvas point under a point of the element. @param {number} px @param {number} py @returns {Place} */
  at(px, py) {
    const { plot, size } = this, { camera } = this.host;
    const rawX = camera.x + (px - plot.x - plot.w / 2) / this.scale;
    const y = camera.y + (py - plot.y - plot.h / 2) / this.scale;
    const within = px >= plot.x && py >= plot.y && px < plot.x + plot.w && py < plot.y + plot.h;
    const inside = within && y >= 0 && y < size.height;
    return { rawX, x: wrap(rawX, size.width), y: clamp(y, 0, size.height), inside };
  }

  /** Canvas point under the pointer. @param {MouseEvent} event */
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.at(event.clientX - box.left, event.clientY - box.top);
  }

  /** The camera with nothing beyond the poles in sight. @param {Camera} camera */
  settle(camera) {
    const full = Math.min(this.plot.w / this.size.width, this.plot.h / this.size.height) || 1;
    return settled(camera, this.plot.h / 2 / (full * camera.z), this.size);
  }

  /** @param {number} factor @param {Place | null} [at] */
  zoom(factor, at = null) {
    this.host.look(this.settle(zoomed(this.host.camera, factor, at && at.inside ? at : null, this.maxZoom, this.size)));
  }

  /** @param {number} dx @param {number} dy Canvas pixels. */
  pan(dx, dy) {
    const { x, y, z } = this.host.camera;
    this.host.look(this.settle({ x: x + dx, y: y + dy, z }));
  }

  bind() {
    const { canvas, host } = this;
    /** @type {{x: number, y: number, from: Place, moved: boolean, own: boolean} | null} */
    let drag = null;
    canvas.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      canvas.setPointerCapture(e.pointerId);
      host.focus();
      const from = this.under(e);
      drag = { x: e.clientX, y: e.clientY, from, moved: false, own: !!host.press && host.press(from, e) };
    });
    canvas.addEventListener("pointermove", (e) => {
      const at = this.under(e);
      if (!drag || drag.own) host.hover(at.inside ? at : null, e.timeStamp);
      if (!drag) return;
      const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
      if (!drag.moved && !drag.own && Math.hypot(dx, dy) < 3) return;
      const begins = !drag.moved;
      drag.moved = true;
      if (drag.own) host.drag(at, e);
      else {
        canvas.parentElement.classList.add("drag");
        this.pull(e, drag.from, begins, dx, dy);
        drag.x = e.clientX;
        drag.y = e.clientY;
      }
    });
    const end = (/** @type {PointerEvent} */ e) => {
      if (!drag) return;
      const { moved } = drag;
      drag = null;
      canvas.parentElement.classList.remove("drag");
      host.release(e.type === "pointerup" ? this.under(e) : null, moved);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => host.hover(null));
    canvas.addEventListener("dblclick", () => host.reset());
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.roll(e);
    }, { passive: false });
  }

  /**
   * The view follows the pointer.
   * @param {PointerEvent} _event @param {Place} _from  Where the drag began.
   * @param {boolean} _begins @param {number} dx @param {number} dy Screen pixels since the last time.
   */
  pull(_event, _from, _begins, dx, dy) {
    this.pan(-dx / this.scale, -dy / this.scale);
  }

  /** @param {WheelEvent} event */
  roll(event) {
    this.zoom(Math.exp(-event.deltaY * 0.0016), this.under(event));
  }

  // ---------- drawing ----------
  /** Numbers of the copies of the canvas that are in sight; with `margin` also what reaches in from the next ones. */
  copies(margin = 0) {
    const { width } = this.size, half = this.plot.w / 2 / this.scale, { x } = this.host.camera;
    const first = Math.floor((x - half) / width) - margin, last = Math.floor((x + half) / width);
    return Array.from({ length: last - first + 1 }, (_, k) => first + k);
  }

  /** Start a drawing: everything but the plot is clear, and what follows stays inside of it. @param {string} ground */
  begin(ground) {
    const { ctx, plot } = this, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.width, this.height);
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.x, plot.y, plot.w, plot.h);
    ctx.clip();
    ctx.fillStyle = ground;
    ctx.fillRect(plot.x, plot.y, plot.w, plot.h);
  }

  end() {
    this.ctx.restore();
  }

  /**
   * A picture of the whole canvas.
   * @param {CanvasImageSource} image @param {{alpha?: number, smooth?: boolean}} [style]
   */
  blit(image, { alpha = 1, smooth = true } = {}) {
    const { ctx, scale, size } = this;
    ctx.imageSmoothingEnabled = smooth;
    ctx.imageSmoothingQuality = "low";
    ctx.globalAlpha = alpha;
    for (const k of this.copies()) {
      ctx.drawImage(image, this.toX(k * size.width), this.toY(0), size.width * scale, size.height * scale);
    }
    ctx.globalAlpha = 1;
  }

  /**
   * Steps of the graticule that are in sight: screen place and words of each.
   * @param {number[]} azimuthSteps @param {number[]} elevationSteps @param {{x: number, y: number}} apart Least pixels.
   */
  ticks(azimuthSteps, elevationSteps, apart) {
    const { plot, size, scale } = this, { camera } = this.host;
    const perAzimuth = (scale * size.width) / 360, perElevation = (scale * size.height) / 180;
    const azStep = azimuthSteps.find((d) => d * perAzimuth >= apart.x) || azimuthSteps[azimuthSteps.length - 1];
    const elStep = elevationSteps.find((d) => d * perElevation >= apart.y) || elevationSteps[elevationSteps.length - 1];
    const words = (/** @type {number} */ v) => (v === 0 ? "0°" : `${v > 0 ? "+" : "−"}${Math.abs(v)}°`);
    const az = [], el = [], middle = (camera.x * 360) / size.width, half = plot.w / 2 / perAzimuth;
    const first = Math.ceil((middle - half - 180) / azStep - 1e-6) * azStep + 180;
    for (let d = first; d <= middle + half + 1e-6; d += azStep) {
      const a = wrap(360 - d, 360) - 180;
      az.push({ p: this.toX((d * size.width) / 360), text: a === -180 ? "±180°" : words(a) });
    }
    for (let e = Math.ceil(-90 / elStep) * elStep; e <= 90; e += elStep) {
      const p = this.toY(((90 - e) * size.height) / 180);
      if (p >= plot.y - 1 && p <= plot.y + plot.h + 1) el.push({ p, text: words(e) });
    }
    return { az, el };
  }

  /** @param {{az: {p: number}[], el: {p: number}[]}} ticks @param {string} ink */
  graticule({ az, el }, ink) {
    const { ctx, plot } = this;
    ctx.strokeStyle = ink;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (const { p } of az) {
      const x = Math.round(p) + 0.5;
      ctx.moveTo(x, plot.y);
      ctx.lineTo(x, plot.y + plot.h);
    }
    for (const { p } of el) {
      const y = Math.round(p) + 0.5;
      ctx.moveTo(plot.x, y);
      ctx.lineTo(plot.x + plot.w, y);
    }
    ctx.stroke();
  }

  /**
   * Closed lines of a region, on every copy in sight; a region of one point is a ring.
   * @param {Float32Array[]} lines @param {{dx: number, dy: number}} [shift] Canvas pixels.
   * @param {boolean} [closed] Not of a line around a pole, which goes on in the next copy.
   */
  trace(lines, { dx, dy } = { dx: 0, dy: 0 }, closed = true) {
    const { ctx, size } = this;
    ctx.lineJoin = "round";
    ctx.beginPath();
    for (const line of lines) {
      for (const k of this.copies(1)) {
        const offset = dx + k * size.width;
        if (line.length > 2) {
          ctx.moveTo(this.toX(line[0] + offset), this.toY(line[1] + dy));
          for (let i = 2; i < line.length; i += 2) ctx.lineTo(this.toX(line[i] + offset), this.toY(line[i + 1] + dy));
          if (closed) ctx.closePath();
        } else {
          const x = this.toX(line[0] + offset), y = this.toY(line[1] + dy);
          ctx.moveTo(x + 4, y);
          ctx.arc(x, y, 4, 0, 7);
        }
      }
    }
  }

  /**
   * Stroke what was traced, over a band that sets it off.
   * @param {string} ink
   * @param {{band: string, halo: number, width: number, dash?: number[], bandDash?: number[]}} style
   */
  stroke(ink, style) {
    banded(this.ctx, ink, style);
  }
}

/**
 * Stroke a path over a band that sets it off.
 * @param {CanvasRenderingContext2D} ctx @param {string} ink
 * @param {{band: string, halo: number, width: number, dash?: number[], bandDash?: number[]}} style
 */
export function banded(ctx, ink, { band, halo, width, dash = [], bandDash = [] }) {
  ctx.setLineDash(bandDash);
  ctx.strokeStyle = band;
  ctx.lineWidth = width + halo;
  ctx.stroke();
  ctx.setLineDash(dash);
  ctx.strokeStyle = ink;
  ctx.lineWidth = width;
  ctx.stroke();
  ctx.setLineDash([]);
}
