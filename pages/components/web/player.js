// @ts-check
// The viewer of a recording: its state, and what holds its parts together.

import { isAt, readView, replaceAddress, stepAddress, withView } from "./address.js";
import { Controls, storedPrefs } from "./controls.js";
import { ALL_EVENTS, EventList, MATCHING } from "./events.js";
import { ahead, settledGaze } from "./gaze.js";
import { Hearing } from "./hearing.js";
import { firstLayout, layoutsOf, systemsIn } from "./layouts.js";
import { levelPicture, lutPixels } from "./painting.js";
import { Sound } from "./playback.js";
import { inflate, unpack } from "./protocol.js";
import { Readout } from "./readout.js";
import { Requests } from "./requests.js";
import { neighbourError, Sources } from "./sources.js";
import { Stage } from "./stage.js";
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
  /**
   * @param {HTMLElement} host Element that Streamlit gives the component.
   * @param {boolean} [embedded] In somebody else's page: keys count where the player has the focus, and the address is
   *   not its own.
   */
  constructor(host, embedded = false) {
    this.host = host;
    this.embedded = embedded;
    /** Told of all that an address would hold, where there is none. */
    this.moved = () => {};
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
    this.eventList = new EventList(this);
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
    /** Where one looks; null: nobody has turned yet. @type {import("./gaze.js").Gaze | null} */
    this.turned = null;
    /** The address as it will be written next is a step of the browser's history. */
    this.newStep = false;
    /** Chosen systems, `A`, `B`, `C`, ... @type {string[]} */
    this.systemKeys = [];
    /** @type {import("./address.js").Source | null} */
    this.isolate = null;
    /** What the address says of a source that is still being read. @type {{isolate: any, heard: any} | null} */
    this.awaited = null;
    this.showTags = true;
    /** @type {import("./geometry.js").Point | null} */
    this.cursor = null;
    /** @type {Record<string, any>} */
    this.matches = {};
    /** @type {Record<string, any>} */
    this.status = {};
    this.stats = { steps: [], sync: [], steer: [], draws: 0, buffering: 0 };
    /** @type {Record<string, any>} */
    this.prefs = storedPrefs();
    this.hearing = new Hearing(this);
    /** By kind; that of `look` is the view around. @type {Map<string, any>} */
    this.panels = new Map();
    this.timeline = new Timeline(this, this.ref.timeline);
    /** Kinds of the panels on the screen. @type {string[] | null} */
    this.visible = null;
    /** Frame that is drawn, picture and all. */
    this.drawn = -1;
    /** @type {number | undefined} When the key was pressed whose frame is not drawn yet. */
    this.keyAt = undefined;
    this.firstPicture = 0;
    /** Address on arrival: what it names is shown first. */
    this.arrival = embedded ? "" : location.search;
    this.build();
  }

  build() {
    const listen = (target, type, fn, options) => {
      target.addEventListener(type, fn, options);
      this.undo.push(() => target.removeEventListener(type, fn, options));
    };
    this.undo = [];
    // before the keys of the page that the player is embedded in
    if (this.embedded) {
      listen(window, "keydown", (e) => this.controls.onOwnKey(e), true);
      // the wheel scrolls the page on its way over a player that nobody has clicked on
      const passing = (e) => !this.root.matches(":focus-within") && e.stopPropagation();
      this.root.addEventListener("wheel", passing, { capture: true, passive: true });
    } else listen(window, "keydown", (e) => this.controls.onKey(e));
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
      if (!this.ref.hearMenu.hidden && !e.target.closest(".sx-hear")) this.hearing.openMenu(false);
      if (!this.ref.help.hidden && !e.target.closest(".sx-help")) this.ref.help.hidden = true;
      const row = e.target.closest("tr[data-k]");
      if (row) this.sources.isolateRow(row.dataset.t, Number(row.dataset.k));
      const event = e.target.closest("tr[data-e]");
      if (event) this.seek(this.eventList.joined.first[Number(event.dataset.e)]);
    });
    for (const el of this.root.querySelectorAll("[data-filter]")) {
      el.addEventListener("change", () => {
        this.eventList.set(el.dataset.filter, el.value);
        this.focus();
      });
    }
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
    if (this.panels.has("look")) this.panels.get("look").close();
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
    this.hearing.answered();
    for (const [name, data] of Object.entries(arrays)) {
      if (name.startsWith("block.")) this.requests.addBlock(data);
      else if (name.startsWith("frame.")) this.requests.addBlock(data, true);
      else if (name === "spectrogram") this.setSpectrogram(unpack(data));
      else if (this.hearing.take(name, data)) continue;
      else if (name.startsWith("matches.")) this.sources.setMatches(name.slice(8), unpack(data));
      else if (name === "lattice_index") this.latticeIndex = unpack(data).arrays.index;
      else if (name.startsWith("ac.")) this.requests.addLattice(name, data.slice());
    }
    if (this.acousticKinds.length) {
      this.stage.paintTitles();
      this.stage.invalidate();
    }
    this.hearing.show();
    this.readout.showScores();
    if (!this.eventList.joined) this.eventList.paint();
    if (this.scene.header.reading.length) this.stage.invalidate();
    this.requests.plan();
  }

  /**
   * Why there is nothing to show of the labels or of a system; "" where there is.
   * @param {string} t `L`, `A`, `B`, ...
   */
  missing(t) {
    const { header } = this.scene, text = header.messages[t === "L" ? "labels" : t];
    if (!header.reading.includes(t)) return text;
    const { fraction } = this.status[`table.${t}`] || {};
    return fraction > 0 ? `${text}, ${Math.floor(fraction * 100)} %` : `${text} …`;
  }

  // Why there is neither a label nor a prediction.
  get nothing() {
    const { reading, unreadable, messages } = this.scene.header;
    if (reading.length) return "Labels and predictions are being read.";
    return unreadable.map((t) => messages[t === "L" ? "labels" : t]).join(" ");
  }

  // Systems of the layout that have a panel: those that can be read, or are being read.
  get panelled() {
    const { header, tables } = this.scene;
    return systemsIn(this.layout, this.systemKeys).filter((t) => tables.includes(t) || header.reading.includes(t));
  }

  loadScene({ header, arrays }, place) {
    const same = this.scene && this.scene.header.recording === header.recording;
    const first = !this.scene, media = same && this.scene.header.media === header.media;
    // what has been read of labels and predictions comes in while it plays
    if (media) this.transport.hold();
    else this.transport.pause();
    this.flushUrl();
    this.place = place;
    this.size = { width: header.canvas[0], height: header.canvas[1] };
    this.fps = header.frame_rate_hz;
    this.view ||= this.whole;
    this.stage.prepare(header);
    // a view that the address names (a link, or the browser's way back) is shown as it was
    const search = first ? this.arrival : this.atPlace ? location.search : "";
    const keys = Object.keys(header.systems), asked = readView(search, layoutsOf(keys), this.size, this.maxZoom);
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
    if (!media) this.timeline.spectrogram = null;
    this.isolate = this.awaited = null;
    this.classes = new Map(header.classes.map((c) => [c.id, c]));
    if (same) this.hearing.clear();
    else this.hearing.reset();
    if (!media) this.hearing.refused = this.hearing.earless = "";
    if (!same) this.eventList.filter = { ...ALL_EVENTS };
    this.eventList.load(null);
    this.luts = {};
    for (const [k, v] of Object.entries(header.luts)) this.luts[k] = lutPixels(v);
    if (!same && !first) this.frame = 0;
    if (asked && asked.frame !== undefined) this.frame = asked.frame;
    else if (!same && !this.embedded && lastFrames.has(header.recording)) this.frame = lastFrames.get(header.recording);
    this.frame = Math.min(Math.max(this.frame, 0), Math.max(0, this.nFrames - 1));
    if (!same) {
      this.loop = null;
      this.loopOn = false;
    }
    const kept = keys.join() === this.systemKeys.join() && layoutsOf(keys).includes(this.layout);
    this.systemKeys = keys;
    if (!kept) this.layout = firstLayout(keys);
    this.restore(asked);
    this.audioMessage = header.has.audio ? "Preparing the spectrogram …" : header.messages.audio;
    this.ref.name.textContent = this.ref.name.title = header.recording;
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
    this.readout.legendRow();
    this.controls.syncControls();
    this.stage.arrange();
    this.saveUrl(true);
  }

  // Kind of acoustic map that is shown, or "".
  get acousticKind() {
    const { overlay } = this;
    return overlay.startsWith("ac.") ? overlay.slice(3) : "";
  }

  // The chosen layer if this recording has it, else none. Where there is nothing but sound, the sound is shown.
  get overlay() {
    const o = this.prefs.overlay, { scene } = this;
    if (!scene) return "none";
    const acoustic = scene.header.acoustic.map((a) => `ac.${a.kind}`);
    if (acoustic.includes(o)) return o;
    if (!scene.header.has.video) return scene.tables.length || !acoustic.length ? "none" : acoustic[0];
    return scene.tables.includes(o) ? o : "none";
  }

  // Kinds of acoustic maps that are on the screen, that over the video first.
  get acousticKinds() {
    const kinds = [this.acousticKind, this.lookOn ? this.lookOn.acousticKind : ""];
    return [...new Set(kinds)].filter(Boolean);
  }

  // The view around, while it is on the screen.
  get lookOn() {
    return this.visible && this.visible.includes("look") ? this.panels.get("look") : null;
  }

  get lattice() {
    return this.latticeOf(this.acousticKind);
  }

  latticeOf(kind) {
    const l = kind && this.latticeIndex ? this.store.lattices.get(`ac.${kind}.${this.blockAt(this.frame)}`) : null;
    return l && this.frame >= l.start && this.frame < l.stop ? l : null;
  }

  blockAt(frame) {
    return Math.floor(frame / this.blockFrames);
  }

  blockOf(frame) {
    return this.store.showing(this.blockAt(frame), frame);
  }

  /** @param {import("./protocol.js").Container} what @param {string} heard Direction or source that it is of. */
  setSpectrogram({ header, arrays }, heard = "") {
    inflate(arrays.values).then((values) => {
      const { n_bins: bins, n_columns: columns, n_frames: frames, max_hz: top } = header;
      const words = top >= 1000 ? `${(top / 1000).toFixed(0)} kHz` : `${top} Hz`;
      const spectrogram = { canvas: null, frames, top: words, values, columns, bins, heard };
      this.timeline[heard ? "directed" : "spectrogram"] = spectrogram;
      this.paintSpectrogram();
    });
  }

  paintSpectrogram() {
    for (const s of [this.timeline.spectrogram, this.timeline.directed]) {
      if (s) s.canvas = levelPicture(s.values, s.columns, s.bins, this.luts[this.prefs.cmap]);
    }
    this.timeline.dirty = true;
    this.stage.invalidate();
  }

  // The system whose errors are shown: the first on the screen that can be read; "" where none can.
  get lead() {
    return this.shown[0] || "";
  }

  get shown() {
    return !this.scene
      ? []
      : systemsIn(this.layout, this.systemKeys).filter((t) => this.scene.tables.includes(t));
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
    const { joined, starts } = this.eventList;
    if (!joined || !starts.length) {
      this.readout.flash(
        !joined
          ? this.errorsMissing
          : joined.first.length
            ? "The filter under Errors leaves no event."
            : "No errors at this IoU.",
      );
      return;
    }
    const at = neighbourError(starts, this.frame, direction);
    if (at >= 0) this.seek(starts[at]);
    else this.readout.flash(direction > 0 ? "No error begins after this frame." : "No error begins before this frame.");
  }

  // Why there are no errors to show.
  get errorsMissing() {
    if (this.scene.header.reading.length) return "Errors are found when labels and predictions have been read.";
    if (!this.scene.header.has.labels || !this.lead) return "Errors need labels and a prediction set.";
    const { state, text } = this.status[this.lead] || {};
    return state === "error" ? text : MATCHING;
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

  // Where one looks from inside the sphere; the sound for two ears turns with it.
  get gaze() {
    return this.turned || ahead();
  }

  /**
   * Look elsewhere, or see more or less at once.
   * @param {Partial<import("./gaze.js").Gaze>} gaze  What changes.
   * @param {boolean} begins  A gesture begins: Back returns to what was seen before it.
   */
  turn(gaze, begins = false) {
    if (begins) {
      this.flushUrl();
      this.newStep = true;
    }
    this.turned = settledGaze({ ...this.gaze, ...gaze });
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
    return this.stage.order();
  }

  // Several systems are on the screen.
  get sideBySide() {
    return this.shown.length > 1;
  }

  /** @param {string} layout */
  setLayout(layout) {
    this.layout = layout;
    this.max = null;
    this.sources.refreshErrors();
    this.controls.syncControls();
    this.stage.arrange();
    this.saveUrl();
  }

  hover(at, since) {
    this.cursor = at;
    this.hearing.hover(at, since);
    this.readout.showProbe();
    this.stage.invalidate();
  }

  // ---------- the address ----------
  get atPlace() {
    return !this.embedded && isAt(location.search, this.place);
  }

  /** @param {import("./address.js").View | null} asked */
  restore(asked) {
    if (!asked) return;
    this.view = asked.camera;
    this.turned = asked.gaze;
    this.max = asked.max;
    this.loop = asked.loop && asked.loop[1] <= this.nFrames ? asked.loop : null;
    this.loopOn = !!this.loop;
    this.eventList.filter = asked.filter || { ...ALL_EVENTS };
    this.eventList.refresh();
    const { isolate, heard } = asked, { tables, header } = this.scene;
    this.isolate = isolate && tables.includes(isolate.table) ? isolate : null;
    this.awaited = isolate && header.reading.includes(isolate.table) ? { isolate, heard } : null;
    if (this.awaited) this.readout.flash("The chosen source is shown and heard once it has been read.");
    else if (isolate && !this.isolate) {
      this.readout.flash(`The chosen source is not there. ${this.missing(isolate.table) || ""}`);
    }
    if (asked.layout) this.layout = asked.layout;
    if (asked.overlay) this.prefs.overlay = asked.overlay;
    this.hearing.restore(asked.heard || null);
    if (asked.looking !== undefined) this.prefs.look = asked.looking;
  }

  // Back or Forward: to another moment of this view at once; to another view when its scene comes.
  returned() {
    this.requests.turn.hold();
    clearTimeout(this.urlTimer);
    this.urlTimer = 0;
    if (!this.scene || !this.atPlace) return;
    const asked = readView(location.search, layoutsOf(this.systemKeys), this.size, this.maxZoom);
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
    if (this.embedded) {
      this.moved();
      return;
    }
    if (this.urlTimer && !now) return;
    clearTimeout(this.urlTimer);
    this.urlTimer = 0;
    if (!now) {
      // while it plays, once a second: browsers allow some two hundred changes in half a minute
      this.urlTimer = setTimeout(() => this.saveUrl(true), this.playing ? 1000 : 300);
      return;
    }
    if (this.dead || !this.scene || !this.atPlace) return;
    const { frame, max, overlay } = this, { filter } = this.eventList;
    const { isolate, heard } = this.awaited || { isolate: this.isolate, heard: this.hearing.heard };
    const gaze = this.turned, looking = !!this.prefs.look;
    const layout = this.systemKeys.length > 1 ? this.layout : undefined, loop = this.loopOn ? this.loop : null;
    const view = { frame, camera: this.view, gaze, looking, max, layout, isolate, loop, overlay, filter, heard };
    (this.newStep ? stepAddress : replaceAddress)(withView(location.href, view, this.size));
    this.newStep = false;
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
