// @ts-check
// The panels: where they stand, what is drawn on them, and how they are saved as a picture.

import { brighten, compose, paintEnergy, paintLattice, paintOver, paintResidual, Raster } from "./painting.js";
import { MARGIN, Panel } from "./panel.js";
import { clock } from "./words.js";

export const LAYOUTS = {
  A: [
    ["rgb", "gt"],
    ["predA", "resA"],
  ],
  B: [
    ["rgb", "gt"],
    ["predB", "resB"],
  ],
  AB: [
    ["rgb", "predA", "predB"],
    ["gt", "resA", "resB"],
  ],
};

const OF_BANDS = { median: "median of bands", max: "maximum of bands", rgb: "low, mid, high bands as RGB" };

export class Stage {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    /** What is drawn is not what is to be shown. */
    this.dirty = false;
    this.raf = 0;
    this.peaks = { L: 0, A: 0, B: 0 };
  }

  /** Canvases of a recording's size. */
  prepare() {
    const { width, height } = this.player.size;
    if (this.overlayRaster && this.overlayRaster.canvas.width === width) return;
    /** Merged maps of the frame by table. @type {Record<string, Uint8Array>} */
    this.fields = Object.fromEntries(["L", "A", "B"].map((t) => [t, new Uint8Array(width * height)]));
    this.overlayRaster = new Raster(this.player.size);
  }

  invalidate(full = false) {
    if (full) this.dirty = true;
    if (this.raf) return;
    this.raf = requestAnimationFrame(() => {
      this.raf = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.player.scene || !this.player.theme || !this.player.visible || this.player.dead) return;
    const block = this.player.nFrames ? this.player.blockOf(this.player.frame) : null, h = this.player.scene.header;
    if (this.dirty && (block || !this.player.nFrames)) {
      this.composeFrame(block);
      this.player.readout.showFrame();
      this.paintTitles();
      this.dirty = false;
    } else if (!block) this.player.readout.showFrame();
    const picture =
      block && h.has.video ? this.player.picture(this.player.frame, block, () => this.invalidate()) : null;
    const loading = this.player.nFrames && !block ? "Loading frames …" : "";
    const outlines = block ? this.outlineSet(block) : { L: [], A: [], B: [] };
    const light = !this.player.theme.dark;
    for (const kind of this.player.visible) {
      const panel = this.player.panels.get(kind), tags = this.player.showTags, t = kind.slice(-1),
        system = h.systems[t];
      if (kind === "rgb") {
        const o = this.player.overlay,
          failed =
            this.player.acousticKind && (this.player.status[`ac.${this.player.acousticKind}`] || {}).state === "error";
        panel.draw({
          source: picture,
          over: o !== "none" && block ? this.overlayRaster.canvas : null,
          message:
            loading ||
            (failed ? this.player.status[`ac.${this.player.acousticKind}`].text : "") ||
            (h.has.video
              ? block && !block.picture(this.player.frame)
                ? this.player.frame < h.picture_frames
                  ? "This picture is damaged and cannot be shown."
                  : `No picture at this time: the video ends at ${(h.picture_frames / h.frame_rate_hz).toFixed(1)} s.`
                : ""
              : o === "none"
                ? h.messages.video
                : ""),
          outlines: tags
            ? [
                ...outlines.L.map((x) => ({ ...x, tag: x.short, brief: x.short })),
                ...this.player.shown
                  .slice(0, 1)
                  .flatMap((s) => outlines[s].map((x) => ({ ...x, dash: true, tag: "" }))),
              ]
            : [],
          tags,
        });
      } else if (kind === "gt") {
        panel.draw({
          source: panel.raster.canvas,
          message: loading || h.messages.labels,
          outlines: tags ? outlines.L : [],
          tags,
        });
      } else if (kind.startsWith("pred")) {
        panel.draw({
          source: panel.raster.canvas,
          message: loading || (system ? h.messages[t] : "Choose a prediction set above."),
          outlines: tags ? outlines[t] : [],
          tags,
        });
      } else {
        panel.draw({
          source: panel.raster.canvas,
          light,
          message:
            loading ||
            (h.messages.labels || !system || h.messages[t] ? "The residual needs labels and a prediction." : ""),
          outlines: tags ? [...outlines.L, ...outlines[t].map((x) => ({ ...x, dash: true }))] : [],
          tags: false,
        });
      }
    }
    this.player.timeline.draw();
    this.player.stats.draws++;
    const complete = block && (!h.has.video || !block.picture(this.player.frame) || picture);
    if (complete) {
      this.player.drawn = this.player.frame;
      this.player.lastFrames.set(this.player.scene.header.recording, this.player.frame);
      if (this.player.keyAt !== undefined) {
        this.player.stats.steps.push(performance.now() - this.player.keyAt);
        this.player.keyAt = undefined;
      }
      if (!this.player.firstPicture) {
        this.player.firstPicture = performance.now();
        this.player.root.dataset.ready = "1";
      }
      this.player.root.dataset.frame = this.player.frame;
    }
  }

  // Merged (or isolated) maps, scaled and coloured.
  composeFrame(block) {
    const { tables } = this.player.scene, energy = this.player.luts[this.player.prefs.cmap],
      perPeak = this.player.prefs.scale === "peak", gain = {};
    for (const t of ["L", "A", "B"]) {
      const number = tables.indexOf(t), field = this.fields[t];
      if (block && number >= 0) {
        this.peaks[t] = compose(
          block,
          this.player.frame,
          number,
          this.player.sources.accepts(t),
          field,
          this.player.size.width,
        );
      } else {
        field.fill(0);
        this.peaks[t] = 0;
      }
      gain[t] = perPeak && this.peaks[t] ? 255 / this.peaks[t] : 1;
    }
    for (const kind of this.player.visible) {
      const { raster } = this.player.panels.get(kind), t = kind.slice(-1);
      if (kind === "gt") paintEnergy(raster.pixels, this.fields.L, energy, gain.L);
      else if (kind.startsWith("pred")) paintEnergy(raster.pixels, this.fields[t], energy, gain[t]);
      else if (kind.startsWith("res")) {
        paintResidual(raster.pixels, this.fields.L, this.fields[t], this.diverging(), gain.L, gain[t]);
      } else continue;
      raster.flush();
    }
    const o = this.player.overlay, { opacity, bands, scale } = this.player.prefs, out = this.overlayRaster.pixels;
    if (o === "none") return;
    if (!this.player.acousticKind) paintOver(out, this.fields[o], energy, gain[o], opacity);
    else if (!this.player.lattice) out.fill(0);
    else {
      const style = { lut: energy, mode: bands, fixed: scale === "fixed", opacity };
      paintLattice(out, this.player.lattice, this.player.frame, this.player.latticeIndex, style);
    }
    this.overlayRaster.flush();
  }

  outlineSet(block) {
    const out = { L: [], A: [], B: [] }, { tables, columns } = this.player.scene, accept = {};
    for (const t of tables) accept[t] = this.player.sources.accepts(t);
    for (const p of block.frames[this.player.frame - block.start]) {
      const q = block.patch(p), t = tables[q.table];
      if (q.row < 0 || !accept[t](q.row)) continue;
      const c = columns[t], cls = this.player.classes.get(c.category[q.row]), parts = [cls.short];
      if (t !== "L" && isFinite(c.score[q.row])) parts.push(c.score[q.row].toFixed(2));
      if (isFinite(c.distance[q.row])) parts.push(`${(c.distance[q.row] / 100).toFixed(1)} m`);
      out[t].push({
        lines: block.outlines[p],
        color: cls.color,
        bright: brighten(cls.color),
        tag: parts.join(" · "),
        brief: parts.slice(0, t === "L" ? 1 : 2).join(" · "),
        short: cls.short,
      });
    }
    return out;
  }

  // Fill what is left of the window below the page's own controls.
  fit() {
    /** @type {any} */
    const shadow = this.player.host;
    const host = shadow.host || shadow, main = host.closest("[data-testid=stMain]");
    if (!main) return;
    const top = this.player.root.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop;
    const height = Math.max(600, Math.floor(main.clientHeight - top - 8));
    if (Math.abs(height - this.player.root.offsetHeight) > 1) this.player.root.style.height = `${height}px`;
  }

  arrange() {
    if (!this.player.scene || this.player.dead) return;
    this.fit();
    const box = this.player.ref.panels, t = this.player.ref.timeBox, bw = box.clientWidth;
    if (!bw || !box.clientHeight) return;
    const room = box.clientHeight + t.offsetHeight; // panels and timeline share this height
    const grid =
      this.player.max && this.player.order().includes(this.player.max)
        ? [[this.player.max]]
        : LAYOUTS[this.player.layout];
    const cols = grid[0].length, rowsN = grid.length, gap = 10, head = 22, mx = MARGIN.left + MARGIN.right,
      my = MARGIN.top + MARGIN.bottom;
    const wanted = Math.round(Math.min(this.player.timeline.wanted, room * 0.36)),
      byWidth = (bw - gap * (cols - 1)) / cols;
    const full = rowsN * ((byWidth - mx) / 2 + my + head) + (rowsN - 1) * gap * 0.6; // height if the width decides
    const timeHeight = Math.round(Math.min(Math.max(wanted, room - full - 4), wanted * 1.2)), bh = room - timeHeight;
    if (t.offsetHeight !== timeHeight) t.style.height = `${timeHeight}px`;
    const byHeight = ((bh - gap * 0.6 * (rowsN - 1)) / rowsN - head - my) * 2 + mx;
    const w = Math.floor(Math.max(160, Math.min(byWidth, byHeight))), h = Math.round((w - mx) / 2 + my);
    const usedW = cols * w + (cols - 1) * gap, usedH = rowsN * (h + head) + (rowsN - 1) * gap * 0.6;
    const left = Math.max(0, (bw - usedW) / 2), extra = Math.max(0, (bh - usedH) / (rowsN + 1));
    const kinds = grid.flat();
    for (const [kind, panel] of this.player.panels) if (!kinds.includes(kind)) panel.box.remove();
    grid.forEach((row, r) =>
      row.forEach((kind, c) => {
        let panel = this.player.panels.get(kind);
        if (!panel) {
          panel = new Panel(this.player, kind);
          this.player.panels.set(kind, panel);
        }
        if (!panel.box.isConnected) box.append(panel.box);
        panel.place(left + c * (w + gap), extra + r * (h + head + gap * 0.6 + extra * 0.5), w, h);
        const n = this.player.order().indexOf(kind) + 1;
        panel.key.textContent = n;
        panel.key.title = `This panel alone, and back (${n})`;
      }),
    );
    this.player.visible = kinds;
    this.paintTitles();
    this.paintScales();
    this.player.timeline.resize(t.clientWidth, t.clientHeight);
    this.invalidate(true);
  }

  paintTitles() {
    const h = this.player.scene.header, name = (t) => (h.systems[t] ? h.systems[t].title : "no prediction set");
    const titles = {
      rgb: ["Video", this.overlayText()],
      gt: ["Ground truth", this.player.isolate ? "single source" : ""],
      predA: [h.systems.B ? "Prediction A" : "Prediction", name("A")],
      predB: ["Prediction B", name("B")],
      resA: [h.systems.B ? "Residual A" : "Residual", h.systems.B ? "A − label" : "prediction − label"],
      resB: ["Residual B", "B − label"],
    };
    for (const [kind, panel] of this.player.panels) {
      panel.title.textContent = titles[kind][0];
      panel.sub.textContent = titles[kind][1];
      panel.canvas.setAttribute("aria-label", titles[kind].join(" "));
    }
  }

  overlayText() {
    const o = this.player.overlay, kind = this.player.acousticKind;
    if (!kind) {
      return {
        none: this.player.showTags && this.player.shown.length ? "label solid, prediction dashed" : "",
        L: "+ label energy",
        A: "+ prediction A",
        B: "+ prediction B",
      }[o];
    }
    const st = this.player.status[`ac.${kind}`] || {},
      title = this.player.scene.header.acoustic.find((a) => a.kind === kind).title;
    if (st.state === "error") return `+ ${title}: not available`;
    if (st.state === "running") return `+ ${title}: computing ${Math.round((st.fraction || 0) * 100)} %`;
    const { bands } = this.player.prefs;
    return `+ ${title}, ${OF_BANDS[bands] || `band ${Number(bands) + 1}`}`;
  }

  paintScales() {
    if (!this.player.scene || !this.player.theme || !this.player.visible) return;
    const lut = this.player.luts[this.player.prefs.cmap], top = this.player.prefs.scale === "peak" ? "peak" : "1";
    for (const [kind, panel] of this.player.panels) {
      if (kind === "rgb") {
        const o = this.player.overlay, ac = !!this.player.acousticKind;
        panel.legend(o === "none" || (ac && this.player.prefs.bands === "rgb") ? null : lut, [
          "0",
          ac ? (top === "1" ? "max" : "peak") : top,
        ]);
      } else if (kind.startsWith("res")) panel.legend(this.diverging(), ["−1", "+1"]);
      else panel.legend(lut, ["0", top]);
    }
  }

  diverging() {
    return this.player.luts[this.player.theme.dark ? "diverging_dark" : "diverging_light"];
  }

  // The panels as they stand, with their titles and scales, at the screen's resolution.
  pictureCanvas() {
    const dpr = window.devicePixelRatio || 1, boxes = this.player.visible.map((k) => this.player.panels.get(k)),
      pad = 12, foot = 26;
    const x0 = Math.min(...boxes.map((b) => b.box.offsetLeft)), y0 = Math.min(...boxes.map((b) => b.box.offsetTop));
    const x1 = Math.max(...boxes.map((b) => b.box.offsetLeft + b.width)),
      y1 = Math.max(...boxes.map((b) => b.box.offsetTop + b.height + 22));
    const c = document.createElement("canvas");
    c.width = (x1 - x0 + 2 * pad) * dpr;
    c.height = (y1 - y0 + 2 * pad + foot) * dpr;
    const x = c.getContext("2d");
    x.scale(dpr, dpr);
    x.fillStyle = this.player.theme.bg;
    x.fillRect(0, 0, c.width, c.height);
    x.textBaseline = "middle";
    for (const b of boxes) {
      const left = b.box.offsetLeft - x0 + pad, top = b.box.offsetTop - y0 + pad;
      x.drawImage(b.canvas, left, top + 22, b.width, b.height);
      if (b.bar.width) {
        x.drawImage(b.bar, left + b.width - b.bar.offsetWidth - 4, top + 1, b.bar.offsetWidth, b.bar.offsetHeight);
      }
      x.font = `600 13px ${this.player.theme.font}`;
      x.fillStyle = this.player.theme.fg;
      x.fillText(b.title.textContent, left + 32, top + 11);
      const w = x.measureText(b.title.textContent).width;
      x.font = `12.5px ${this.player.theme.font}`;
      x.fillStyle = this.player.theme.dim;
      x.fillText(b.sub.textContent, left + 40 + w, top + 11);
    }
    const h = this.player.scene.header, systems = this.player.shown.map((t) => h.systems[t].title).join(", ");
    x.font = `12px ${this.player.theme.font}`;
    x.fillStyle = this.player.theme.dim;
    x.fillText(
      [
        h.recording,
        `${clock(this.player.frame / this.player.fps, 1)} (frame ${this.player.frame})`,
        systems,
        h.simulated ? "simulated recording" : "",
      ]
        .filter(Boolean)
        .join("  ·  "),
      pad + 32,
      y1 - y0 + pad + foot - 6,
    );
    return c;
  }

  savePicture() {
    if (!this.player.visible || !this.player.scene) return;
    this.pictureCanvas().toBlob((blob) => {
      const a = document.createElement("a");
      a.href = URL.createObjectURL(blob);
      const name = this.player.scene.header.recording.replace(/[^\w.-]+/g, "_");
      a.download = `${name}_frame${String(this.player.frame).padStart(4, "0")}.png`;
      a.click();
      setTimeout(() => URL.revokeObjectURL(a.href), 10000);
    }, "image/png");
  }
}
