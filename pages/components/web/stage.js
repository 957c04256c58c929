// @ts-check
// The panels: where they stand, what is drawn on them, and how they are saved as a picture.

import { arrangement, panelGroups } from "./layouts.js";
import { LookPanel } from "./look_panel.js";
import { brighten, compose, paintEnergy, paintLattice, paintOver, paintResidual, Raster } from "./painting.js";
import { MARGIN, Panel } from "./panel.js";
import { clock } from "./words.js";

/** Decibels that a layer shows below its reference: a beamformer's maps are flat, those of a network are not. */
export const RANGE_DB = { uplam: 30, precedence: 30, lam32: 30, beamformer: 10 };

const NARROW = 820, SIDE_BELOW = 330, TITLE = 22; // CSS pixels
/** What surrounds a panel's canvas. */
const AROUND = {
  gap: 10, between: 6, across: MARGIN.left + MARGIN.right, down: MARGIN.top + MARGIN.bottom + TITLE, title: TITLE,
};

const OF_BANDS = { median: "median of bands", max: "maximum of bands", rgb: "low, mid, high bands as RGB" };

export class Stage {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    /** What is drawn is not what is to be shown. */
    this.dirty = false;
    this.raf = 0;
    /** Largest energy of the frame by table. @type {Record<string, number>} */
    this.peaks = {};
  }

  /** Canvases of a recording's size, and a map for each table that there may be. @param {any} header */
  prepare(header) {
    const { width, height } = this.player.size, names = ["L", ...Object.keys(header.systems)];
    /** Merged maps of the frame by table. @type {Record<string, Uint8Array>} */
    this.fields = Object.fromEntries(names.map((t) => [t, new Uint8Array(width * height)]));
    if (!this.overlayRaster || this.overlayRaster.canvas.width !== width) {
      this.overlayRaster = new Raster(this.player.size);
    }
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
    const outlines = this.outlineSet(block);
    const light = !this.player.theme.dark, small = this.player.layout === "ALL";
    const bare = (list) => list.map((x) => ({ ...x, dash: true, tag: "" }));
    for (const kind of this.player.visible) {
      const panel = this.player.panels.get(kind), tags = this.player.showTags, t = kind.slice(-1),
        system = h.systems[t];
      if (kind === "rgb") {
        const o = this.player.overlay, failed = this.failed(this.player.acousticKind);
        panel.draw({
          source: picture,
          over: o !== "none" && block ? this.overlayRaster.canvas : null,
          message: loading || failed || this.pictureMessage(block),
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
      } else if (kind === "look") this.drawAround(panel, block, picture, loading, outlines);
      else if (kind === "gt") {
        panel.draw({
          source: panel.raster.canvas,
          message: loading || this.player.missing("L"),
          outlines: tags ? outlines.L : [],
          tags,
        });
      } else if (kind.startsWith("pred")) {
        panel.draw({
          source: panel.raster.canvas,
          message: loading || (system ? this.player.missing(t) : "Choose a prediction set above."),
          outlines: tags ? [...(small ? bare(outlines.L) : []), ...outlines[t]] : [],
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
      if (picture && this.player.lookOn && this.player.drawn !== this.player.frame) this.loadAhead();
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

  // The picture that is likely to come next, onto the graphics card once this one is on the screen.
  loadAhead() {
    const { player } = this, f = player.frame + (player.frame < player.drawn ? -1 : 1);
    setTimeout(() => {
      const next = player.store.pictures.entries.get(f), { lookOn } = player;
      if (next && next.bitmap && lookOn && lookOn.fast) lookOn.lens.prepare(next.bitmap);
    });
  }

  // What a calculation of acoustic maps has failed with, or "".
  failed(kind) {
    const { state, text } = (kind && this.player.status[`ac.${kind}`]) || {};
    return state === "error" ? text : "";
  }

  // Why there is nothing to see where the video would be, or "".
  pictureMessage(block) {
    const h = this.player.scene.header, { frame } = this.player;
    if (!h.has.video) return this.player.overlay === "none" ? h.messages.video : this.layerMessage();
    if (!block || block.picture(frame)) return "";
    if (frame < h.picture_frames) return "This picture is damaged and cannot be shown.";
    return `No picture at this time: the video ends at ${(h.picture_frames / h.frame_rate_hz).toFixed(1)} s.`;
  }

  // The view from inside the sphere.
  drawAround(panel, block, picture, loading, outlines) {
    const { layer } = panel, { player } = this, { showTags: tags, theme } = player;
    const over = block && layer !== "none" ? this.aroundRaster(panel) : null, t = layer.slice(-1);
    const [system = ""] = /^(res)?[A-KM-Z]$/.test(layer) ? [t] : player.shown; // whose energies they are
    const brief = outlines.L.map((x) => ({ ...x, tag: x.short, brief: x.short }));
    const dashed = (outlines[system] || []).map((x) => ({ ...x, dash: true, tag: "" }));
    panel.draw({
      picture,
      over,
      message: loading || this.failed(panel.acousticKind) || (over ? "" : this.pictureMessage(block)),
      outlines: tags ? [...brief, ...dashed] : [],
      light: layer.startsWith("res") && !theme.dark,
    });
  }

  // Merged (or isolated) maps, scaled and coloured.
  composeFrame(block) {
    const { tables } = this.player.scene, energy = this.player.luts[this.player.prefs.cmap],
      perPeak = this.player.prefs.scale === "peak", gain = {};
    for (const t of Object.keys(this.fields)) {
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
      const panel = this.player.panels.get(kind), { raster } = panel, t = kind.slice(-1);
      if (kind === "look") this.composeAround(panel, gain);
      else if (kind === "gt") paintEnergy(raster.pixels, this.fields.L, energy, gain.L);
      else if (kind.startsWith("pred")) paintEnergy(raster.pixels, this.fields[t], energy, gain[t]);
      else if (kind.startsWith("res")) {
        paintResidual(raster.pixels, this.fields.L, this.fields[t], this.diverging(), gain.L, gain[t]);
      }
      if (kind !== "rgb" && kind !== "look") raster.flush();
    }
    if (this.player.overlay === "none") return;
    this.layOver(this.overlayRaster.pixels, this.player.overlay, gain);
    this.overlayRaster.flush();
  }

  // Energies of a table, or acoustic maps of a kind, to lay over a picture.
  layOver(out, layer, gain) {
    const { opacity, bands, scale, cmap } = this.player.prefs, lut = this.player.luts[cmap];
    if (!layer.startsWith("ac.")) {
      paintOver(out, this.fields[layer], lut, gain[layer], opacity);
      return;
    }
    const kind = layer.slice(3), lattice = this.player.latticeOf(kind), fade = this.player.scene.header.has.video;
    if (!lattice) {
      out.fill(0);
      return;
    }
    const style = { lut, mode: bands, fixed: scale === "fixed", rangeDb: this.rangeDb(kind), opacity, fade };
    paintLattice(out, lattice, this.player.frame, this.player.latticeIndex, style);
  }

  // What the view around lays over the picture: often the same as the video panel.
  aroundRaster(panel) {
    return panel.layer === this.player.overlay ? this.overlayRaster : panel.raster;
  }

  composeAround(panel, gain) {
    const { layer, raster } = panel, t = layer.slice(-1), { scene, prefs, luts } = this.player;
    panel.version++;
    if (layer === "none" || this.aroundRaster(panel) !== raster) return;
    if (layer.startsWith("res")) {
      paintResidual(raster.pixels, this.fields.L, this.fields[t], this.diverging(), gain.L, gain[t]);
    } else if (scene.header.has.video || layer.startsWith("ac.")) this.layOver(raster.pixels, layer, gain);
    else paintEnergy(raster.pixels, this.fields[layer], luts[prefs.cmap], gain[layer]);
    raster.flush();
  }

  // Decibels that the acoustic layer shows.
  rangeDb(kind) {
    const { range } = this.player.prefs;
    return range === "auto" ? RANGE_DB[kind] : Number(range);
  }

  outlineSet(block) {
    const out = Object.fromEntries(Object.keys(this.fields).map((t) => [t, []]));
    if (!block) return out;
    const { tables, columns } = this.player.scene, accept = {};
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
    // a narrow window has the frame's figures and lists below, where one scrolls to them
    const narrow = this.player.root.clientWidth < NARROW;
    this.player.root.classList.toggle("narrow", narrow);
    const height = Math.max(520, Math.floor(main.clientHeight - top - 8)) + (narrow ? SIDE_BELOW : 0);
    if (Math.abs(height - this.player.root.offsetHeight) > 1) this.player.root.style.height = `${height}px`;
  }

  // Panels that this recording and layout have.
  groups() {
    const { scene, panelled, layout, overlay } = this.player;
    const picture = scene.header.has.video || overlay !== "none";
    const labels = scene.tables.includes("L") || scene.header.reading.includes("L");
    return panelGroups({ picture, labels, systems: panelled, small: layout === "ALL" });
  }

  // All of them as they stand, row after row; one alone has no say in it.
  order() {
    const groups = this.groups();
    const kinds = this.space ? arrangement(groups, this.space, AROUND).rows.flat().filter(Boolean) : groups.flat();
    return this.player.prefs.look ? [...kinds, "look"] : kinds;
  }

  // Why a recording without video does not show its sound yet.
  layerMessage() {
    const { acousticKind, fps, frame, lattice, nFrames, status: known } = this.player;
    const status = known[`ac.${acousticKind}`] || {};
    if (lattice) return "";
    if (!nFrames || status.frames === 0) return "The sound is shorter than one frame of 100 ms: there is no map of it.";
    if (frame >= status.frames) return `No map at this time: the sound ends at ${(status.frames / fps).toFixed(1)} s.`;
    const share = status.fraction > 0 ? ` (${Math.round(status.fraction * 100)} %)` : "";
    return `Computing what is heard from where${share} …`;
  }

  arrange() {
    if (!this.player.scene || this.player.dead) return;
    this.fit();
    const box = this.player.ref.panels, t = this.player.ref.timeBox, bw = box.clientWidth;
    if (!bw || !box.clientHeight) return;
    const room = box.clientHeight + t.offsetHeight; // panels and timeline share this height
    const groups = this.groups(), small = this.player.layout === "ALL";
    const { timeline } = this.player, share = small ? Math.max(timeline.least, room * 0.28) : room * 0.36;
    const wanted = Math.round(Math.min(timeline.wanted, share));
    this.space = { width: bw, height: room - wanted };
    const { max, prefs } = this.player, only = max && this.order().includes(max) ? max : "", { gap, between } = AROUND;
    const { rows, width, view } = only === "look"
      ? { rows: [], width: 0, view: { beside: { width: bw, height: room - wanted - TITLE } } }
      : arrangement(only ? [[only]] : groups, this.space, AROUND, prefs.look && !only);
    const w = Math.max(160, width), h = Math.round((w - AROUND.across) / 2 + AROUND.down - TITLE), row = h + TITLE;
    const columns = Math.max(0, ...rows.map((kinds) => kinds.length)), n = rows.length;
    const rowsHeight = n * (row + between) - between, below = view && "below" in view ? view.below : null;
    const beside = view && "beside" in view ? view.beside : null;
    const used = !n ? beside.height + TITLE : rowsHeight + (below ? below.height + TITLE + between : 0);
    const timeHeight = Math.round(Math.min(Math.max(wanted, room - used - 4), wanted * 1.2));
    if (t.offsetHeight !== timeHeight) t.style.height = `${timeHeight}px`;
    // what is left of the width stands between the panels, too: titles may use it
    const left = bw - columns * (w + gap) + gap, spare = beside ? 0 : Math.max(0, left / (columns + 1));
    const pitch = w + gap + spare, extra = Math.max(0, (room - timeHeight - used) / (n + 1));
    const kinds = rows.flat().filter(Boolean), order = this.player.order();
    if (beside || below) kinds.push("look");
    for (const [kind, panel] of this.player.panels) {
      if (kinds.includes(kind)) continue;
      panel.head.box.remove();
      if (kind === "look") panel.close();
    }
    const show = (/** @type {string} */ kind, /** @type {number[]} */ ...[x, y, wide, high, more]) => {
      let panel = this.player.panels.get(kind);
      if (!panel) {
        panel = kind === "look" ? new LookPanel(this.player) : new Panel(this.player, kind);
        this.player.panels.set(kind, panel);
      }
      if (!panel.head.box.isConnected) box.append(panel.head.box);
      panel.place(x, y, wide, high, more);
      const number = order.indexOf(kind) + 1;
      panel.head.key.textContent = String(number);
      panel.head.key.title = `This panel alone, and back${number < 10 ? ` (${number})` : ""}`;
    };
    const topOf = (/** @type {number} */ r) => extra + r * (row + between + extra * 0.5);
    rows.forEach((line, r) =>
      line.forEach((kind, c) => {
        const aside = small || view ? 0 : ((columns - line.length) * pitch) / 2; // a short row stands in the middle
        if (kind) show(kind, spare + aside + c * pitch, topOf(r), w, h, spare);
      }),
    );
    if (beside) {
      const x = columns * pitch, high = n ? topOf(n - 1) + row - topOf(0) - TITLE : beside.height;
      show("look", x, topOf(0), bw - x, high, 0);
    } else if (below) show("look", 0, topOf(n - 1) + row + between, bw, below.height, 0);
    this.player.visible = kinds;
    this.paintScales();
    this.paintTitles();
    this.player.timeline.resize(t.clientWidth, t.clientHeight);
    this.invalidate(true);
  }

  paintTitles() {
    const h = this.player.scene.header, name = (t) => (h.systems[t] ? h.systems[t].title : "no prediction set");
    const several = this.player.systemKeys.length > 1, small = this.player.layout === "ALL";
    for (const kind of this.player.visible || []) {
      const panel = this.player.panels.get(kind), t = kind.slice(-1);
      if (kind === "look") continue; // it names itself: with each turn
      /** Ways to say it, the shortest last: the fixed word goes before the system's name. @type {[string, string][]} */
      let ways, help = "";
      if (kind === "rgb") ways = [[h.has.video ? "Video" : "Sound", this.overlayText()]];
      else if (kind === "gt") ways = [["Ground truth", this.player.isolate ? "single source" : ""]];
      else if (kind.startsWith("res")) {
        ways = several
          ? [[`Residual ${t}`, `${t} − label`], [`Residual ${t}`, ""]]
          : [["Residual", "prediction − label"], ["Residual", "pred. − label"], ["Residual", ""]];
      } else if (small) {
        const [brief, figures] = this.player.readout.frameFigures(t);
        ways = [[`${t} · ${name(t)}`, brief]];
        help = figures;
      } else {
        const letter = several ? ` ${t}` : "";
        ways = ["Prediction", "Pred."].map((word) => [word + letter, name(t)]);
        ways.push([several ? t : "", name(t)]);
      }
      const [title, sub] = ways[0];
      panel.head.name(ways, kind.startsWith("pred") && this.player.visible.includes("gt"));
      panel.head.sub.title = help || sub;
      panel.head.box.classList.toggle("pick", small && kind.startsWith("pred"));
      panel.head.title.title = small && kind.startsWith("pred") ? "Click to look at this system alone" : "";
      panel.canvas.setAttribute("aria-label", `${title} ${sub}`);
    }
  }

  overlayText() {
    const { overlay: o, acousticKind: kind, scene } = this.player, plus = scene.header.has.video ? "+ " : "";
    if (o === "none") return this.player.showTags && this.player.shown.length ? "label solid, prediction dashed" : "";
    if (!kind) return o === "L" ? "+ label energy" : `+ prediction ${o}`;
    const st = this.player.status[`ac.${kind}`] || {},
      title = this.player.scene.header.acoustic.find((a) => a.kind === kind).title;
    if (st.state === "error") return `${plus}${title}: not available`;
    if (st.state === "running") return `${plus}${title}: computing ${Math.round((st.fraction || 0) * 100)} %`;
    const { bands, scale } = this.player.prefs, { lattice } = this.player;
    const reference = lattice && scale === "fixed" ? lattice.references_db[bands] : undefined;
    const zero = reference === undefined ? "" : `, 0 dB = ${reference.toFixed(0).replace("-", "−")} dBFS`;
    return `${plus}${title}, ${OF_BANDS[bands] || `band ${Number(bands) + 1}`}${zero}`;
  }

  paintScales() {
    if (!this.player.scene || !this.player.theme || !this.player.visible) return;
    const lut = this.player.luts[this.player.prefs.cmap], top = this.player.prefs.scale === "peak" ? "peak" : "1";
    for (const [kind, panel] of this.player.panels) {
      if (kind === "rgb") {
        const o = this.player.overlay, ac = !!this.player.acousticKind;
        const ticks = ac ? [`−${this.rangeDb(this.player.acousticKind)}`, top === "1" ? "0 dB" : "peak"] : ["0", top];
        panel.head.legend(o === "none" || (ac && this.player.prefs.bands === "rgb") ? null : lut, ticks);
      } else if (kind === "look") {
        const { layer, acousticKind } = panel, bare = panel.width < 520 || layer === "none";
        if (layer.startsWith("res")) panel.head.legend(bare ? null : this.diverging(), ["−1", "+1"]);
        else if (!acousticKind) panel.head.legend(bare ? null : lut, ["0", top]);
        else {
          const ticks = [`−${this.rangeDb(acousticKind)}`, top === "1" ? "0 dB" : "peak"];
          panel.head.legend(bare || this.player.prefs.bands === "rgb" ? null : lut, ticks);
        }
      } else if (kind.startsWith("res")) panel.head.legend(this.diverging(), ["−1", "+1"]);
      else panel.head.legend(this.player.layout === "ALL" && panel.width < 300 ? null : lut, ["0", top]);
    }
  }

  diverging() {
    return this.player.luts[this.player.theme.dark ? "diverging_dark" : "diverging_light"];
  }

  // The panels as they stand, with their titles and scales, at the screen's resolution.
  pictureCanvas() {
    const dpr = window.devicePixelRatio || 1, panels = this.player.visible.map((k) => this.player.panels.get(k)),
      pad = 12, foot = 26;
    const heads = panels.map((panel) => panel.head);
    const x0 = Math.min(...heads.map((b) => b.box.offsetLeft)), y0 = Math.min(...heads.map((b) => b.box.offsetTop));
    const x1 = Math.max(...heads.map((b) => b.box.offsetLeft + b.row.offsetWidth)),
      y1 = Math.max(...panels.map((p) => p.head.box.offsetTop + p.height + 22));
    const c = document.createElement("canvas");
    c.width = (x1 - x0 + 2 * pad) * dpr;
    c.height = (y1 - y0 + 2 * pad + foot) * dpr;
    const x = c.getContext("2d");
    x.scale(dpr, dpr);
    x.fillStyle = this.player.theme.bg;
    x.fillRect(0, 0, c.width, c.height);
    x.textBaseline = "middle";
    for (const panel of panels) {
      const { head: b, width, height } = panel;
      const left = b.box.offsetLeft - x0 + pad, top = b.box.offsetTop - y0 + pad;
      x.drawImage(panel.picture(), left, top + 22, width, height);
      if (b.bar.offsetWidth) {
        const { offsetWidth: wide, offsetHeight: high } = b.bar;
        x.drawImage(b.bar, left + b.row.offsetWidth - wide - 4, top + 1, wide, high);
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
