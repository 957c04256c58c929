// @ts-check
// The viewer of a recording: its state, and what holds its parts together.

import { isAt, readView, replaceAddress, withView } from "./address.js";
import { Controls, storedPrefs } from "./controls.js";
import { levelPicture, lutPixels } from "./painting.js";
import { Sound } from "./playback.js";
import { inflate, unpack } from "./protocol.js";
import { Readout } from "./readout.js";
import { Requests } from "./requests.js";
import { neighbourError, Sources } from "./sources.js";
import { LAYOUTS, Stage } from "./stage.js";
import { Store } from "./store.js";
import { readTheme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { Transport } from "./transport.js";

/**
 * Frame of each recording looked at: another page of the app and back starts a new player in the same script.
 * @type {Map<string, number>}
 */
const lastFrames = new Map();

export class Player {
  /** @param {HTMLElement} host Element that Streamlit gives the component. */
  constructor(host) {
    this.host = host;
    /** @type {any} */
    this.root = host.querySelector(".sx");
    this.root.player = this;
    /** @type {Record<string, any>} */
    this.ref = {};
    for (const el of this.root.querySelectorAll("[data-ref]")) this.ref[el.dataset.ref] = el;
    this.store = new Store();
    this.sound = new Sound();
    this.requests = new Requests(this);
    this.sources = new Sources(this);
    this.transport = new Transport(this);
    this.readout = new Readout(this);
    this.stage = new Stage(this);
    this.controls = new Controls(this);
    this.lastFrames = lastFrames;
    this.maxZoom = 24;
    /** @type {any} */
    this.scene = null;
    this.frame = 0;
    this.nFrames = 0;
    /** @type {[number, number] | null} */
    this.loop = null;
    this.loopOn = false;
    this.playing = false;
    /** @type {string | null} */
    this.max = null;
    this.layout = "A";
    /** @type {import("./address.js").Source | null} */
    this.isolate = null;
    this.showTags = true;
    /** @type {import("./geometry.js").Point | null} */
    this.cursor = null;
    /** @type {Record<string, any>} */
    this.matches = {};
    /** @type {Record<string, any>} */
    this.status = {};
    this.stats = { steps: [], sync: [], draws: 0, buffering: 0 };
    /** @type {Record<string, any>} */
    this.prefs = storedPrefs();
    /** @type {Map<string, import("./panel.js").Panel>} */
    this.panels = new Map();
    this.timeline = new Timeline(this, this.ref.timeline);
    /** Kinds of the panels on the screen. @type {string[] | null} */
    this.visible = null;
    /** Errors of the system in charge. @type {import("./sources.js").Events | null} */
    this.events = null;
    /** Frame that is drawn, picture and all. */
    this.drawn = -1;
    /** @type {number | undefined} When the key was pressed whose frame is not drawn yet. */
    this.keyAt = undefined;
    this.firstPicture = 0;
    /** Address on arrival: what it names is shown first. */
    this.arrival = location.search;
    this.build();
  }

  build() {
    const listen = (target, type, fn, options) => {
      target.addEventListener(type, fn, options);
      this.undo.push(() => target.removeEventListener(type, fn, options));
    };
    this.undo = [];
    listen(window, "keydown", (e) => this.controls.onKey(e));
    // the address of a view that is about to be left must be that view's
    for (const type of ["pointerdown", "keydown", "pagehide"]) listen(window, type, () => this.flushUrl(), true);
    listen(window, "popstate", () => this.returned());
    listen(window, "sai-address", () => this.saveUrl(true));
    this.root.addEventListener("click", (e) => {
      const b = e.target.closest("[data-act]");
      if (b) {
        this.controls.act(b.dataset.act, b.dataset.v);
        if (!["help"].includes(b.dataset.act)) this.focus();
        return;
      }
      if (!this.ref.help.hidden && !e.target.closest(".sx-help")) this.ref.help.hidden = true;
      const row = e.target.closest("tr[data-k]");
      if (row) this.sources.isolateRow(row.dataset.t, Number(row.dataset.k));
    });
    for (const el of this.root.querySelectorAll("[data-pref]")) {
      el.addEventListener(el.type === "range" ? "input" : "change", () =>
        this.controls.setPref(el.dataset.pref, el.type === "range" ? Number(el.value) : el.value),
      );
      if (el.tagName === "SELECT") el.addEventListener("change", () => this.focus());
    }
    const observer = new ResizeObserver(() => this.stage.arrange());
    observer.observe(this.ref.panels);
    observer.observe(this.ref.timeBox);
    this.undo.push(() => observer.disconnect());
    listen(window, "resize", () => this.stage.arrange());
    const scheme = matchMedia("(prefers-color-scheme: dark)"), themed = () => setTimeout(() => this.retheme(), 50);
    listen(scheme, "change", themed);
    this.readout.fillHelp();
  }

  destroy() {
    for (const fn of this.undo) fn();
    this.requests.turn.close();
    this.sound.close();
    this.store.clear();
    cancelAnimationFrame(this.stage.raf);
    clearTimeout(this.requests.timer);
    clearTimeout(this.urlTimer);
    this.dead = true;
  }

  focus() {
    this.root.focus({ preventScroll: true });
  }

  receive(api, bytes) {
    this.requests.api = api;
    this.retheme();
    if (!bytes || bytes === this.lastBytes) return;
    this.lastBytes = bytes;
    this.requests.turn.answered();
    const { header, arrays } = unpack(bytes);
    if (this.requests.pending && header.ack >= this.requests.pending.seq) this.requests.pending = null;
    if (arrays.scene && (!this.scene || this.scene.id !== header.scene)) {
      this.loadScene(unpack(arrays.scene), header.place);
    }
    if (!this.scene || this.scene.id !== header.scene) {
      this.requests.plan();
      return;
    }
    this.place = header.place;
    this.readout.showOnward(header.links || []);
    this.readout.note(header.error || "");
    this.status = header.status || {};
    for (const [name, data] of Object.entries(arrays)) {
      if (name.startsWith("block.")) this.requests.addBlock(data);
      else if (name === "spectrogram") this.setSpectrogram(unpack(data));
      else if (name.startsWith("matches.")) this.sources.setMatches(name.slice(8), unpack(data));
      else if (name === "lattice_index") this.latticeIndex = unpack(data).arrays.index;
      else if (name.startsWith("ac.")) this.requests.addLattice(name, data.slice());
    }
    if (this.acousticKind) {
      this.stage.paintTitles();
      this.stage.invalidate();
    }
    this.readout.showScores();
    this.requests.plan();
  }

  loadScene({ header, arrays }, place) {
    const same = this.scene && this.scene.header.recording === header.recording;
    const first = !this.scene;
    this.transport.pause();
    this.flushUrl();
    this.place = place;
    this.size = { width: header.canvas[0], height: header.canvas[1] };
    this.fps = header.frame_rate_hz;
    this.view ||= this.whole;
    this.stage.prepare();
    // a view that the address names (a link, or the browser's way back) is shown as it was
    const search = first ? this.arrival : this.atPlace ? location.search : "";
    const asked = readView(search, Object.keys(LAYOUTS), this.size, this.maxZoom);
    const columns = {};
    for (const t of header.tables) {
      columns[t] = {};
      for (const name of ["frame", "category", "instance", "score", "distance", "azimuth", "elevation", "peak"]) {
        columns[t][name] = arrays[`${t}.${name}`];
      }
    }
    this.scene = { id: header.scene, header, tables: header.tables, columns };
    this.nFrames = header.n_frames;
    this.blockFrames = header.block_frames;
    this.store.clear();
    this.requests.decoding.clear();
    this.matches = {};
    this.requests.extras = {};
    this.timeline.spectrogram = null;
    this.timeline.errors = [];
    this.isolate = null;
    this.classes = new Map(header.classes.map((c) => [c.id, c]));
    this.luts = {};
    for (const [k, v] of Object.entries(header.luts)) this.luts[k] = lutPixels(v);
    if (!same && !first) this.frame = 0;
    if (asked && asked.frame !== undefined) this.frame = asked.frame;
    else if (!same && lastFrames.has(header.recording)) this.frame = lastFrames.get(header.recording);
    this.frame = Math.min(Math.max(this.frame, 0), Math.max(0, this.nFrames - 1));
    if (!same) {
      this.loop = null;
      this.loopOn = false;
    }
    const both = !!header.systems.B;
    this.layout = !both ? "A" : this.hadBoth ? this.layout : "AB";
    this.hadBoth = both;
    this.restore(asked);
    this.audioMessage = header.has.audio ? "Preparing the spectrogram …" : header.messages.audio;
    this.ref.name.textContent = header.recording;
    this.ref.badges.replaceChildren(
      ...header.badges.map(([text, kind, tip]) => {
        const el = document.createElement("span");
        el.className = `badge ${kind}`;
        el.textContent = text;
        if (tip) el.title = tip;
        return el;
      }),
    );
    const cmap = this.root.querySelector('[data-pref="cmap"]');
    cmap.replaceChildren(
      ...header.colormaps.map((n) => {
        const o = document.createElement("option");
        o.value = n;
        o.textContent = n;
        return o;
      }),
    );
    if (!header.colormaps.includes(this.prefs.cmap)) this.prefs.cmap = header.colormaps[0];
    this.timeline.load(this.scene);
    this.controls.syncControls();
    this.stage.arrange();
    this.saveUrl(true);
  }

  // Kind of acoustic map laid over the video, or "".
  get acousticKind() {
    const o = this.prefs.overlay, kind = o.startsWith("ac.") ? o.slice(3) : "";
    return kind && this.scene && this.scene.header.acoustic.some((a) => a.kind === kind) ? kind : "";
  }

  // The chosen layer if this recording has it, else none.
  get overlay() {
    const o = this.prefs.overlay, h = this.scene && this.scene.header;
    if (!h || (o === "L" && !h.has.labels) || ((o === "A" || o === "B") && !h.systems[o])) return "none";
    return o.startsWith("ac.") && !this.acousticKind ? "none" : o;
  }

  get lattice() {
    const kind = this.acousticKind,
      l = kind && this.latticeIndex ? this.store.lattices.get(`ac.${kind}.${this.blockAt(this.frame)}`) : null;
    return l && this.frame >= l.start && this.frame < l.stop ? l : null;
  }

  blockAt(frame) {
    return Math.floor(frame / this.blockFrames);
  }

  blockOf(frame) {
    return this.store.get(this.blockAt(frame));
  }

  setSpectrogram({ header, arrays }) {
    inflate(arrays.values).then((values) => {
      const { n_bins: bins, n_columns: columns, n_frames: frames, max_hz: top } = header;
      const words = top >= 1000 ? `${(top / 1000).toFixed(0)} kHz` : `${top} Hz`;
      this.timeline.spectrogram = { canvas: null, frames, top: words, values, columns, bins };
      this.paintSpectrogram();
    });
  }

  paintSpectrogram() {
    const s = this.timeline.spectrogram;
    s.canvas = levelPicture(s.values, s.columns, s.bins, this.luts[this.prefs.cmap]);
    this.timeline.dirty = true;
    this.stage.invalidate();
  }

  // Errors of the system in charge (A in the side-by-side view) at the chosen IoU.
  get lead() {
    return this.layout === "B" ? "B" : "A";
  }

  get shown() {
    return !this.scene
      ? []
      : (this.layout === "AB" ? ["A", "B"] : [this.layout]).filter((t) => this.scene.tables.includes(t));
  }

  step(n) {
    this.seek(this.frame + n);
  }

  seek(frame) {
    const f = Math.min(Math.max(Math.round(frame), 0), this.nFrames - 1);
    if (this.playing) {
      this.frame = f;
      this.transport.startSound();
    }
    this.show(f);
  }

  show(f) {
    this.frame = f;
    this.timeline.follow(f);
    this.warm();
    this.stage.invalidate(true);
    this.requests.plan();
    this.saveUrl();
  }

  // The decoded picture of a frame, or null; `done` follows where the frame is still the one on the screen.
  picture(frame, block, done) {
    return this.store.pictures.get(frame, block.picture(frame), () => {
      if (frame === this.frame) done();
    });
  }

  // Decode the pictures around the cursor ahead of need.
  warm() {
    if (!this.scene || !this.scene.header.has.video) return;
    const range = this.playing ? [0, 1, 2, 3, 4, 5, 6, 7, 8] : [0, 1, -1, 2, -2, 3, -3, 4, 5, 10, -10];
    for (const d of range) {
      const f = this.frame + d;
      if (f < 0 || f >= this.nFrames) continue;
      const block = this.store.blocks.get(this.blockAt(f));
      if (block) this.picture(f, block, () => this.stage.invalidate(true));
    }
  }

  jumpError(direction) {
    const e = this.events;
    if (!e || !e.frame.length) {
      this.readout.flash(
        !this.scene.header.has.labels || !this.shown.length
          ? "Errors need labels and a prediction set."
          : e
            ? "No errors at this threshold."
            : "Matching is still running.",
      );
      return;
    }
    const at = neighbourError(e.frame, this.frame, direction);
    if (at >= 0) this.seek(e.frame[at]);
    else this.readout.flash(direction > 0 ? "No error after this frame." : "No error before this frame.");
  }

  setLoop(a, b) {
    this.loop = [a, b];
    this.loopOn = true;
    this.timeline.dirty = true;
    this.controls.syncControls();
    this.stage.invalidate();
    this.saveUrl();
  }

  // The camera that shows the whole canvas.
  get whole() {
    return { x: this.size.width / 2, y: this.size.height / 2, z: 1 };
  }

  resetView() {
    this.look(this.whole);
  }

  /** @param {import("./geometry.js").Camera} camera */
  look(camera) {
    this.view = camera;
    this.controls.syncControls();
    this.stage.invalidate();
    this.saveUrl();
  }

  zoomAt(factor) {
    const panel = this.panels.get(this.visible[0]);
    if (panel) panel.zoom(factor);
  }

  maximise(kind) {
    this.max = this.max === kind ? null : kind;
    this.stage.arrange();
    this.saveUrl();
  }

  order() {
    return LAYOUTS[this.layout].flat();
  }

  hover(at) {
    this.cursor = at;
    this.readout.showProbe();
    this.stage.invalidate();
  }

  // ---------- the address ----------
  get atPlace() {
    return isAt(location.search, this.place);
  }

  /** @param {import("./address.js").View | null} asked */
  restore(asked) {
    if (!asked) return;
    this.view = asked.camera;
    this.max = asked.max;
    this.loop = asked.loop && asked.loop[1] <= this.nFrames ? asked.loop : null;
    this.loopOn = !!this.loop;
    this.isolate = asked.isolate && this.scene.tables.includes(asked.isolate.table) ? asked.isolate : null;
    if (asked.layout && this.hadBoth) this.layout = asked.layout;
    if (asked.overlay) this.prefs.overlay = asked.overlay;
  }

  // Back or Forward: to another moment of this view at once; to another view when its scene comes.
  returned() {
    this.requests.turn.hold();
    clearTimeout(this.urlTimer);
    this.urlTimer = 0;
    if (!this.scene || !this.atPlace) return;
    const asked = readView(location.search, Object.keys(LAYOUTS), this.size, this.maxZoom);
    this.transport.pause();
    this.restore(asked);
    this.timeline.dirty = true;
    this.sources.refreshErrors();
    this.controls.syncControls();
    this.stage.arrange();
    if (asked && asked.frame !== undefined) this.show(Math.min(asked.frame, this.nFrames - 1));
  }

  flushUrl() {
    if (this.urlTimer) this.saveUrl(true);
  }

  saveUrl(now = false) {
    if (this.urlTimer && !now) return;
    clearTimeout(this.urlTimer);
    this.urlTimer = 0;
    if (!now) {
      // while it plays, once a second: browsers allow some two hundred changes in half a minute
      this.urlTimer = setTimeout(() => this.saveUrl(true), this.playing ? 1000 : 300);
      return;
    }
    if (this.dead || !this.scene || !this.atPlace) return;
    const { frame, max, isolate, overlay } = this;
    const layout = this.hadBoth ? this.layout : undefined, loop = this.loopOn ? this.loop : null;
    replaceAddress(
      withView(location.href, { frame, camera: this.view, max, layout, isolate, loop, overlay }, this.size),
    );
  }

  // ---------- colours ----------
  retheme() {
    const theme = readTheme(this.root);
    if (this.theme && theme.key === this.theme.key) return;
    this.theme = theme;
    theme.errors.forEach((colour, k) => this.root.style.setProperty(`--error-${k}`, colour));
    this.readout.legendRow();
    this.stage.paintScales();
    this.timeline.dirty = true;
    this.stage.invalidate(true);
  }
}

/** @param {any} component What Streamlit hands a component of its second kind. */
export default function mount(component) {
  const { data, parentElement: host } = component;
  let player = host.saiPlayer;
  if (!player || !player.root.isConnected) {
    if (player) player.destroy();
    player = host.saiPlayer = new Player(host);
  }
  player.receive(component, data);
  // Streamlit may call this for a superseded render too: only a host that has left the page is cleaned up
  return () => {
    if (!host.isConnected && !(host.host && host.host.isConnected)) player.destroy();
  };
}
