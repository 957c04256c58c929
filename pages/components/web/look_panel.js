// @ts-check
// The player's panel that shows the frame from inside the sphere.

import { ahead } from "./gaze.js";
import { LookView } from "./look_view.js";
import { Raster } from "./painting.js";
import { hostOf } from "./panel.js";
import { PanelHead } from "./panel_head.js";
import { drawTags } from "./tags.js";

const LAYER = 98; // width of the list of layers with its gap, less the room that other titles leave free on the left

export class LookPanel extends LookView {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    const canvas = document.createElement("canvas"), kind = "look";
    super(canvas, hostOf(player, kind), {
      get gaze() {
        return player.gaze;
      },
      turn: (gaze, begins) => player.turn(gaze, begins),
      reset: () => player.turn(ahead(), true),
    }, player.size);
    this.player = player;
    this.kind = kind;
    this.head = new PanelHead(player, kind, canvas);
    this.head.title.onclick = () => {};
    this.head.extra = LAYER;
    canvas.setAttribute("role", "application");
    /** What is laid over the picture. */
    this.raster = new Raster(player.size);
    this.version = 0;
    this.named = "";
    /** @type {import("./lens.js").Layers} */
    this.layers = { base: null, over: null, version: 0, ground: [0, 0, 0] };
    this.list = document.createElement("select");
    this.list.title = "What is laid over the picture in this panel";
    this.list.setAttribute("aria-label", "Layer of the view around");
    this.list.onchange = () => {
      player.controls.setPref("lookLayer", this.list.value);
      player.requests.plan();
      player.focus();
    };
    this.head.sub.after(this.list);
  }

  /** @param {number} x @param {number} y @param {number} width @param {number} height @param {number} spare */
  place(x, y, width, height, spare = 0) {
    this.open(() => this.player.stage.invalidate());
    this.head.place(x, y, width, spare);
    this.resize(width, height);
  }

  /** Layers that this recording has, with their words. @returns {[string, string][]} */
  choices() {
    const { scene, systemKeys } = this.player, { has, acoustic } = scene.header, { tables } = scene;
    const systems = systemKeys.filter((t) => tables.includes(t)), labels = tables.includes("L");
    return [
      ["same", has.video ? "as over the video" : "automatic"],
      ["none", has.video ? "video alone" : "nothing"],
      ...(labels ? [/** @type {[string, string]} */ (["L", "label energy"])] : []),
      ...systems.map((t) => /** @type {[string, string]} */ ([t, `prediction ${t}`])),
      ...(labels ? systems.map((t) => /** @type {[string, string]} */ ([`res${t}`, `residual ${t}`])) : []),
      ...acoustic.map((a) => /** @type {[string, string]} */ ([`ac.${a.kind}`, a.title])),
    ];
  }

  /** The layer that is shown: a table, `res` and a table, `ac.` and a kind, or `none`. */
  get layer() {
    const { prefs, overlay, scene, shown } = this.player, wish = prefs.lookLayer;
    if (wish !== "same" && this.choices().some(([value]) => value === wish)) return wish;
    if (overlay !== "none" || scene.header.has.video) return overlay;
    return scene.tables.includes("L") ? "L" : shown[0] || "none";
  }

  get acousticKind() {
    return this.layer.startsWith("ac.") ? this.layer.slice(3) : "";
  }

  /** List of layers and title. */
  name() {
    const choices = this.choices(), key = choices.flat().join("|");
    if (this.list.dataset.choices !== key) {
      this.list.dataset.choices = key;
      this.list.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
    }
    const { lookLayer } = this.player.prefs;
    this.list.value = choices.some(([value]) => value === lookLayer) ? lookLayer : "same";
    const { yaw, pitch, fov } = this.player.gaze, shown = [yaw, pitch, fov, this.fast, this.width].join();
    if (shown === this.named) return;
    this.named = shown;
    const words = (/** @type {number} */ v) => `${v < -0.5 ? "−" : v < 0.5 ? "" : "+"}${Math.abs(Math.round(v))}°`;
    const slow = this.fast ? "" : " · without WebGL", where = `${words(yaw)}, ${words(pitch)}`;
    this.head.name([
      ["Look around", `azimuth ${words(yaw)}, elevation ${words(pitch)} · ${Math.round(fov)}° wide${slow}`],
      ["Look around", `${where} · ${Math.round(fov)}° wide${slow}`],
      ["Look around", where + slow],
      ["Look", where + slow],
      ["Look", slow.slice(3)],
    ]);
    const help = "Drag turns the view, the wheel sets how much is seen, a double click looks ahead again";
    this.head.sub.title = this.fast ? help : `${help}. The browser has no WebGL now, so that it is slower and coarser`;
    this.canvas.setAttribute("aria-label", `View around: azimuth ${words(yaw)}, elevation ${words(pitch)}`);
  }

  /**
   * @param {object} what
   * @param {CanvasImageSource | null} what.picture
   * @param {Raster | null} what.over  What is laid over it.
   * @param {string} what.message  Shown in place of all.
   * @param {import("./panel.js").Outline[]} what.outlines
   * @param {boolean} what.light  The ground is light.
   */
  draw({ picture, over, message, outlines, light }) {
    const { ctx, player, width, height } = this, { theme } = player;
    const base = message ? null : picture, raster = message ? null : over;
    this.layers = { base, over: raster, version: this.version, ground: theme.ground };
    this.see(this.layers);
    this.name();
    if (message) {
      ctx.font = `13px ${theme.font}`;
      ctx.fillStyle = theme.dim;
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      ctx.fillText(message, width / 2, height / 2, width - 20);
    } else {
      this.compass(theme.font);
      const regions = [];
      for (const o of outlines) {
        const bounds = this.trace(o.lines);
        const band = light ? "rgba(255,255,255,.75)" : "rgba(0,0,0,.6)";
        this.stroke(light ? o.color : o.bright, { band, halo: 1.7, width: 1.7, dash: o.dash ? [5, 3] : [] });
        if (bounds) regions.push({ ...bounds, o, named: true });
      }
      drawTags(ctx, { x: 0, y: 0, w: width, h: height }, theme.font, regions);
    }
    const ring = player.hearing.ring();
    if (ring && !message) {
      this.trace([ring.line]);
      const dash = ring.dashed ? [2, 4] : [];
      this.stroke(theme.accent, { band: "rgba(0,0,0,.55)", halo: 2, width: 1.8, dash });
    }
    if (player.cursor) this.mark(player.cursor);
    this.miniature(base, theme.accent);
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1;
    ctx.strokeRect(0.5, 0.5, width - 1, height - 1);
  }

  /** The panel as a picture. */
  picture() {
    return this.snapshot(this.layers);
  }
}
