// @ts-check
// The review desk from inside the sphere: the same regions and the same tools as on the panorama, without its
// distortion at the poles and its seam.

import { deskHost } from "./desk_panorama.js";
import { discsOf, enclosed } from "./desk_shapes.js";
import { vectorAt } from "./gaze.js";
import { shortest } from "./geometry.js";
import { LookView } from "./look_view.js";

const APART_PX = 4, MOST_STEPS = 64;
const GROUND = [20, 22, 28];

export class DeskLook extends LookView {
  /** @param {import("./desk.js").Desk} desk @param {HTMLCanvasElement} canvas */
  constructor(desk, canvas) {
    const host = deskHost(desk, () => this);
    super(canvas, {
      ...host,
      camera: { x: 0, y: 0, z: 1 },
      press: (at, event) => {
        this.reached(this.pixel(event), at.rawX);
        return host.press(at, event);
      },
      drag: (_at, event) => this.draws(event),
    }, {
      get gaze() {
        return desk.gaze;
      },
      turn: (gaze) => desk.turnTo(gaze),
      reset: () => {
        if (desk.drawing.tool === "move") desk.aim();
      },
    }, desk.size);
    this.desk = desk;
    this.onSphere = true;
    /** @type {import("./erp_view.js").Place | null} */
    this.pointer = null;
    /** Where a drag that draws has got to. @type {{px: [number, number], rawX: number}} */
    this.last = { px: [0, 0], rawX: 0 };
    // a click leaves the keys to the item; who comes by Tab turns the view with them
    canvas.addEventListener("mousedown", (e) => e.preventDefault());
  }

  /** @param {[number, number]} px @param {number} rawX */
  reached(px, rawX) {
    this.last = { px, rawX };
  }

  /**
   * A drag that draws goes in small steps: what is straight on the screen is not on the canvas. Its columns go on from
   * where they were, also around a pole.
   * @param {PointerEvent} event
   */
  draws(event) {
    const { px: from } = this.last, to = this.pixel(event), far = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const steps = Math.min(Math.max(Math.ceil(far / APART_PX), 1), MOST_STEPS);
    for (let k = 1; k <= steps; k++) {
      const at = this.at(from[0] + ((to[0] - from[0]) * k) / steps, from[1] + ((to[1] - from[1]) * k) / steps);
      at.rawX = this.last.rawX + shortest(at.x - this.last.rawX, this.size.width);
      this.reached(to, at.rawX);
      this.desk.drawing.drag(at, this);
    }
  }

  /** A lasso as a line of the canvas. @param {number[][]} points */
  enclose(points) {
    return enclosed(points, this.look.gaze.pitch > 0 ? 0 : this.size.height, this.size);
  }

  draw() {
    const { ctx, desk } = this, { theme, scene } = desk, base = desk.moments.picture();
    this.see({ base, over: scene.energies(), version: scene.version, ground: GROUND });
    this.compass(theme.font);
    scene.draw(this);
    if (!base) desk.sayPicture(ctx, 0);
    this.miniature(base, theme.accent);
    this.name();
  }

  /** Where one looks, in words. */
  name() {
    const { ctx, desk, canvas } = this, { yaw, pitch, fov } = desk.gaze;
    const words = (/** @type {number} */ v) => `${v < -0.5 ? "−" : v < 0.5 ? "" : "+"}${Math.abs(Math.round(v))}°`;
    const where = `azimuth ${words(yaw)}, elevation ${words(pitch)}`, label = `View around: ${where}`;
    if (canvas.getAttribute("aria-label") !== label) canvas.setAttribute("aria-label", label);
    ctx.font = `10.5px ${desk.theme.font}`;
    ctx.textAlign = "right";
    ctx.textBaseline = "alphabetic";
    ctx.shadowColor = "#000";
    ctx.shadowBlur = 3;
    ctx.fillStyle = "rgba(255,255,255,.82)";
    const text = `${where} · ${Math.round(fov)}° wide${this.fast ? "" : " · without WebGL: slower and coarser"}`;
    ctx.fillText(text, this.width - 7, 15);
    ctx.shadowBlur = 0;
  }

  /** @param {Float32Array[]} lines */
  highest(lines) {
    const seen = this.trace(lines);
    return seen && { x: seen.top, y: seen.t };
  }

  /** @param {import("./geometry.js").Point} point */
  spots({ x, y }) {
    const v = vectorAt(x, y, this.size);
    return this.view.sees(v) ? [this.view.project(v)] : [];
  }

  /** @param {number[][]} points @param {number} radius */
  sweep(points, radius) {
    this.trace(discsOf(points, radius, this.size));
    this.ctx.fill();
  }
}
