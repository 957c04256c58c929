// @ts-check
// What stands above a panel of the player: its number, title, what it shows, colour scale.

import { fitting } from "./layouts.js";

const HEAD = 73; // what a title row holds beside its words: margins, the panel's number, gaps

export class PanelHead {
  /** @param {import("./player.js").Player} player @param {string} kind @param {HTMLCanvasElement} canvas */
  constructor(player, kind, canvas) {
    this.player = player;
    /** Width of the panel, and free width to the right that a long title may use. */
    this.width = this.spare = this.barWidth = 0;
    /** Width of what else stands in the row. */
    this.extra = 0;
    /** The panel: head and canvas. */
    this.box = document.createElement("div");
    this.box.className = "panel";
    this.box.dataset.kind = kind;
    this.row = document.createElement("div");
    this.row.className = "ph";
    this.key = document.createElement("button");
    this.key.className = "k";
    this.key.onclick = () => player.maximise(kind);
    this.title = document.createElement("span");
    this.title.className = "t";
    this.sub = document.createElement("span");
    this.sub.className = "s";
    this.bar = document.createElement("canvas");
    this.row.append(this.key, this.title, this.sub, this.bar);
    canvas.setAttribute("role", "img");
    this.box.append(this.row, canvas);
  }

  /** @param {number} x @param {number} y @param {number} width @param {number} spare */
  place(x, y, width, spare) {
    this.width = width;
    this.spare = spare;
    Object.assign(this.box.style, { left: `${x}px`, top: `${y}px`, width: `${width}px` });
  }

  /**
   * Title and what stands beside it: the first of several ways to say it for which there is room; the free width beside
   * the panel is used before a word is shortened.
   * @param {[string, string][]} ways From the longest to the shortest.
   * @param {boolean} [elsewhere] Another panel has the same colour scale: it goes before words are cut.
   */
  name(ways, elsewhere = false) {
    const ctx = this.bar.getContext("2d"), { font } = this.player.theme;
    const width = (/** @type {string} */ text, /** @type {string} */ style) => {
      ctx.font = `${style} ${font}`;
      return ctx.measureText(text).width;
    };
    const widthOf = (/** @type {[string, string]} */ [title, sub]) =>
      [HEAD + this.extra, width(title, "600 13px"), sub ? width(sub, "12.5px") : 0, this.bar.hidden ? 0 : this.barWidth]
        .reduce((sum, part) => sum + part);
    this.bar.hidden = false;
    let [title, sub] = fitting(ways, widthOf, this.width + this.spare);
    if (elsewhere && widthOf([title, sub]) > this.width + this.spare) {
      this.bar.hidden = true;
      [title, sub] = fitting(ways, widthOf, this.width + this.spare);
    }
    const room = Math.ceil(Math.min(Math.max(this.width, widthOf([title, sub])), this.width + this.spare));
    if (this.row.style.width !== `${room}px`) this.row.style.width = `${room}px`;
    this.title.textContent = title;
    this.title.hidden = !title;
    this.sub.textContent = sub;
  }

  // Colour scale in the title row.
  legend(lut, ticks) {
    const c = this.bar, dpr = window.devicePixelRatio || 1, theme = this.player.theme;
    const n = this.width < 360 ? 38 : 98, w = lut ? n + 52 : 0, h = 20; // room for the title
    this.barWidth = w;
    c.style.width = `${w}px`;
    c.style.height = `${h}px`;
    c.width = w * dpr;
    c.height = h * dpr;
    if (!lut) return;
    const ctx = c.getContext("2d");
    ctx.scale(dpr, dpr);
    const x0 = 26;
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
