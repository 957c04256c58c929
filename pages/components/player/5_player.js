// The viewer: state, keys, drawing, requests to the server.

const LAYOUTS = {
  A: [["rgb", "gt"], ["predA", "resA"]],
  B: [["rgb", "gt"], ["predB", "resB"]],
  AB: [["rgb", "predA", "predB"], ["gt", "resA", "resB"]],
};
const PREFS = { overlay: "none", opacity: 0.7, cmap: "magma", scale: "fixed", mode: "full", rate: "1", threshold: "0.25", floor: "0", bands: "median" };
const HELP = [
  ["← →", "one frame back, on"], ["Shift ← →", "ten frames"], ["Space", "play, pause"], ["Home End", "first, last frame"],
  ["N P", "next, previous error (also E, Shift E)"], ["+ −", "zoom (also the wheel); drag pans, across the seam too"],
  ["0", "whole sphere (also a double click)"], ["M", "merged map or a single source"], ["Esc", "back to all sources, all panels"],
  ["1 … 6", "one panel alone, and back"], ["O", "outlines and tags"], ["S", "save the panels as a picture"], ["L", "loop the marked region on, off"],
  ["[ ]", "start, end of the region (Shift+drag on the timeline marks it)"], ["?", "this list"],
];

// Frame of each recording looked at: another page of the app and back starts a new player in the same script.
const lastFrames = new Map();

class Player {
  constructor(host) {
    this.host = host;
    this.root = host.querySelector(".sx");
    this.root.player = this;
    this.ref = {};
    for (const el of this.root.querySelectorAll("[data-ref]")) this.ref[el.dataset.ref] = el;
    this.store = new Store(); this.sound = new Sound();
    this.view = { x: 180, y: 90, z: 1 };
    this.frame = 0; this.nFrames = 0; this.loop = null; this.loopOn = false; this.playing = false; this.max = null;
    this.layout = "A"; this.isolate = null; this.singleMode = false; this.showTags = true; this.cursor = null;
    this.turn = new Turn(); this.matches = {}; this.status = {}; this.seq = 0; this.pending = null; this.extras = {}; this.decoding = new Set();
    this.fields = { L: new Uint8Array(W * H), A: new Uint8Array(W * H), B: new Uint8Array(W * H) };
    this.peaks = { L: 0, A: 0, B: 0 };
    this.stats = { steps: [], sync: [], draws: 0, buffering: 0 };
    this.prefs = { ...PREFS };
    try { Object.assign(this.prefs, JSON.parse(localStorage.getItem("sai.player") || "{}")); } catch { /* private window */ }
    this.overlayRaster = new Raster(); this.panels = new Map();
    this.timeline = new Timeline(this, this.ref.timeline);
    this.asked = this.urlState();
    this.build();
  }

  // ---------- set-up ----------
  build() {
    const listen = (target, type, fn, options) => { target.addEventListener(type, fn, options); this.undo.push(() => target.removeEventListener(type, fn, options)); };
    this.undo = [];
    listen(window, "keydown", (e) => this.onKey(e));
    // the address of a view that is about to be left must be that view's
    for (const type of ["pointerdown", "keydown", "pagehide"]) listen(window, type, () => this.flushUrl(), true);
    listen(window, "popstate", () => this.returned());
    listen(window, "sai-address", () => this.saveUrl(true));
    this.root.addEventListener("click", (e) => {
      const b = e.target.closest("[data-act]");
      if (b) { this.act(b.dataset.act, b.dataset.v); if (!["help"].includes(b.dataset.act)) this.focus(); return; }
      if (!this.ref.help.hidden && !e.target.closest(".sx-help")) this.ref.help.hidden = true;
      const row = e.target.closest("tr[data-k]");
      if (row) this.isolateRow(row.dataset.t, Number(row.dataset.k));
    });
    for (const el of this.root.querySelectorAll("[data-pref]")) {
      el.addEventListener(el.type === "range" ? "input" : "change", () => this.setPref(el.dataset.pref, el.type === "range" ? Number(el.value) : el.value));
      if (el.tagName === "SELECT") el.addEventListener("change", () => this.focus());
    }
    const observer = new ResizeObserver(() => this.arrange());
    observer.observe(this.ref.panels); observer.observe(this.ref.timeBox);
    this.undo.push(() => observer.disconnect());
    listen(window, "resize", () => this.arrange());
    const scheme = matchMedia("(prefers-color-scheme: dark)"), themed = () => setTimeout(() => this.retheme(), 50);
    listen(scheme, "change", themed);
    this.fillHelp();
  }
  destroy() { for (const fn of this.undo) fn(); this.turn.close(); this.sound.close(); this.store.clear(); cancelAnimationFrame(this.raf); clearTimeout(this.timer); clearTimeout(this.urlTimer); this.dead = true; }
  focus() { this.root.focus({ preventScroll: true }); }

  retheme() {
    const s = getComputedStyle(this.root), get = (n, d) => s.getPropertyValue(n).trim() || d;
    const fg = get("--st-text-color", "#222"), bg = get("--st-background-color", "#fff");
    // resolve through a canvas so that any CSS colour can be measured
    const probe = (this.probeCtx ||= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
    const rgb = (c) => { probe.fillStyle = c; probe.fillRect(0, 0, 1, 1); return [...probe.getImageData(0, 0, 1, 1).data]; };
    const lum = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
    const f = rgb(fg), b = rgb(bg), mix = (t) => `rgb(${f.slice(0, 3).map((v, i) => Math.round(v * t + b[i] * (1 - t))).join(",")})`;
    const dark = lum(b) < 0.5, accent = get("--st-primary-color", "#4c8dff");
    const key = fg + bg + accent;
    if (key === this.themeKey) return;
    this.themeKey = key;
    this.theme = {
      dark, fg, bg, accent, dim: mix(0.68), line: mix(0.2), faint: mix(0.07), panel: get("--st-secondary-background-color", "#eee"),
      onAccent: lum(rgb(accent)) > 0.45 ? "#0b0e14" : "#ffffff", font: get("--st-font", "sans-serif"),
      errors: dark ? ["#f5b83d", "#ff6b6b", "#c08bff"] : ["#b46a00", "#cf222e", "#7a3fd0"],
    };
    this.legendRow(); this.paintScales(); this.timeline.dirty = true; this.invalidate(true);
  }

  // ---------- messages from the server ----------
  receive(api, bytes) {
    this.api = api;
    this.retheme();
    if (!bytes || bytes === this.lastBytes) return;
    this.lastBytes = bytes; this.turn.answered();
    const { header, arrays } = unpack(bytes);
    if (this.pending && header.ack >= this.pending.seq) this.pending = null;
    if (arrays.scene && (!this.scene || this.scene.id !== header.scene)) this.loadScene(unpack(arrays.scene), header.place);
    if (!this.scene || this.scene.id !== header.scene) { this.plan(); return; }
    this.place = header.place;
    this.note(header.error || "");
    this.status = header.status || {};
    for (const [name, data] of Object.entries(arrays)) {
      if (name.startsWith("block.")) this.addBlock(data);
      else if (name === "spectrogram") this.setSpectrogram(unpack(data));
      else if (name.startsWith("matches.")) this.setMatches(name.slice(8), unpack(data));
      else if (name === "lattice_index") this.latticeIndex = unpack(data).arrays.index;
      else if (name.startsWith("ac.")) this.addLattice(name, data.slice());
    }
    if (this.acousticKind) { this.paintTitles(); this.invalidate(); }
    this.showScores(); this.plan();
  }

  loadScene({ header, arrays }, place) {
    const same = this.scene && this.scene.header.recording === header.recording;
    const first = !this.scene;
    this.pause(); this.flushUrl();
    this.place = place;
    // a view that the address names (a link, or the browser's way back) is shown as it was
    const asked = first ? this.asked : this.atPlace ? this.urlState() : {};
    const columns = {};
    for (const t of header.tables) {
      columns[t] = {};
      for (const name of ["frame", "category", "instance", "score", "distance", "azimuth", "elevation", "peak"]) columns[t][name] = arrays[`${t}.${name}`];
    }
    this.scene = { id: header.scene, header, tables: header.tables, columns };
    this.nFrames = header.n_frames; this.blockFrames = header.block_frames;
    this.store.clear(); this.decoding.clear(); this.matches = {}; this.extras = {}; this.timeline.spectrogram = null; this.timeline.errors = []; this.isolate = null;
    this.classes = new Map(header.classes.map((c) => [c.id, c]));
    this.luts = {}; for (const [k, v] of Object.entries(header.luts)) this.luts[k] = lutPixels(v);
    if (!same && !first) this.frame = 0;
    if (asked.frame !== undefined) this.frame = asked.frame;
    else if (!same && lastFrames.has(header.recording)) this.frame = lastFrames.get(header.recording);
    this.frame = Math.min(Math.max(this.frame, 0), Math.max(0, this.nFrames - 1));
    if (!same) { this.loop = null; this.loopOn = false; }
    const both = !!header.systems.B;
    this.layout = !both ? "A" : this.hadBoth ? this.layout : "AB";
    this.hadBoth = both;
    this.restore(asked);
    this.audioMessage = header.has.audio ? "Preparing the spectrogram …" : header.messages.audio;
    this.ref.name.textContent = header.recording;
    this.ref.badges.replaceChildren(...header.badges.map(([text, kind, tip]) => {
      const el = document.createElement("span"); el.className = "badge " + kind; el.textContent = text; if (tip) el.title = tip; return el;
    }));
    const cmap = this.root.querySelector('[data-pref="cmap"]');
    cmap.replaceChildren(...header.colormaps.map((n) => { const o = document.createElement("option"); o.value = n; o.textContent = n; return o; }));
    if (!header.colormaps.includes(this.prefs.cmap)) this.prefs.cmap = header.colormaps[0];
    this.timeline.load(this.scene);
    this.syncControls(); this.arrange(); this.saveUrl(true);
  }

  addBlock(data) {
    const generation = this.store.generation;
    const copy = data.slice();
    const index = unpack(copy).header.index;
    if (this.decoding.has(index) || this.store.has(index)) return;
    this.decoding.add(index);
    Block.decode(copy).then((block) => {
      this.decoding.delete(index);
      if (generation !== this.store.generation || block.mode !== this.prefs.mode) return;
      this.store.add(block, this.blockAt(this.frame));
      if (this.frame >= block.start && this.frame < block.stop) { this.invalidate(true); this.resume(); }
      this.warm(); this.sound.pump(); this.plan();
    });
  }

  addLattice(name, data) {
    const { header, arrays } = unpack(data), generation = this.store.generation;
    if (this.store.lattices.has(name) || this.decoding.has(name)) return;
    this.decoding.add(name);
    inflate(arrays.values).then((values) => {
      this.decoding.delete(name);
      if (generation !== this.store.generation) return;
      this.store.addLattice(name, { values, loudness: arrays.loudness, start: header.start, stop: header.stop });
      this.invalidate(true); this.plan();
    });
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
    const kind = this.acousticKind, l = kind && this.latticeIndex ? this.store.lattices.get(`ac.${kind}.${this.blockAt(this.frame)}`) : null;
    return l && this.frame >= l.start && this.frame < l.stop ? l : null;
  }

  blockAt(frame) { return Math.floor(frame / this.blockFrames); }
  blockOf(frame) { return this.store.get(this.blockAt(frame)); }

  // What is missing around the cursor, nearest first; one request at a time unless the cursor's block is missing.
  plan() {
    if (!this.scene && this.pending) return;
    if (!this.api) return;
    const want = [], blocks = [];
    if (this.scene && this.nFrames) {
      const last = this.blockAt(this.nFrames - 1), here = this.blockAt(this.frame);
      const order = this.playing ? [0, 1, 2, 3, 4] : [0, 1, -1, 2, -2, 3, -3];
      for (const d of order) {
        const b = here + d;
        if (b >= 0 && b <= last && !this.store.has(b) && !this.decoding.has(b)) blocks.push(b);
      }
      if (this.loopOn && this.loop) { const b = this.blockAt(this.loop[0]); if (!this.store.has(b) && !this.decoding.has(b) && !blocks.includes(b)) blocks.push(b); }
      const has = this.scene.header.has;
      if (has.audio && !this.timeline.spectrogram && !(this.extras.spectrogram > 3)) want.push("spectrogram");
      for (const t of ["A", "B"]) if (this.scene.tables.includes(t) && this.scene.tables.includes("L") && !this.matches[t] && (this.status[t] || {}).state !== "error") want.push("matches." + t);
      const kind = this.acousticKind;
      if (kind && (this.status["ac." + kind] || {}).state !== "error") {
        if (!this.latticeIndex) want.push("lattice_index");
        for (const d of [0, 1, -1, 2]) {
          const name = `ac.${kind}.${here + d}`;
          if (here + d >= 0 && here + d <= last && !this.store.lattices.has(name) && !this.decoding.has(name) && !(this.extras[name] > 400)) want.push(name);
        }
      }
    }
    const hereMissing = blocks[0] === this.blockAt(this.frame);
    if (this.pending) {
      const stale = performance.now() - this.pending.at > 12000;
      if (!stale && !(hereMissing && !this.pending.blocks.includes(blocks[0]))) return;
    }
    if (this.scene && !blocks.length && !want.length) return;
    const running = want.length && !blocks.length && want.every((w) => w === "lattice_index" || this.status[w.startsWith("matches.") ? w.slice(8) : w.split(".").slice(0, 2).join(".")]?.state === "running");
    clearTimeout(this.timer);
    // nothing but a running calculation to wait for: ask again in a moment
    if (running) { this.timer = setTimeout(() => this.send([], want), 700); return; }
    // the first picture first: extras come with a later request
    if (hereMissing) this.send(blocks.slice(0, 1), []); else this.send(blocks.slice(0, 2), want);
  }
  send(blocks, want) {
    if (this.dead) return;
    for (const w of want) this.extras[w] = (this.extras[w] || 0) + 1;
    this.pending = { seq: ++this.seq, blocks, at: performance.now() };
    const request = { seq: this.seq, scene: this.scene ? this.scene.id : "", mode: this.prefs.mode, frame: this.frame, blocks, want: want.slice(0, 8) };
    this.turn.take(() => this.api.setStateValue("request", request));
    clearTimeout(this.timer); this.timer = setTimeout(() => this.plan(), 12500);
  }

  setSpectrogram({ header, arrays }) {
    inflate(arrays.values).then((values) => {
      const { n_bins: bins, n_columns: columns, n_frames: frames, max_hz } = header;
      const c = document.createElement("canvas"); c.width = columns; c.height = bins;
      const image = c.getContext("2d").createImageData(columns, bins), out = new Uint32Array(image.data.buffer);
      const lut = this.luts[this.prefs.cmap];
      for (let k = 0; k < columns; k++) for (let b = 0; b < bins; b++) out[(bins - 1 - b) * columns + k] = lut[values[k * bins + b]];
      c.getContext("2d").putImageData(image, 0, 0);
      this.timeline.spectrogram = { canvas: c, frames, top: max_hz >= 1000 ? `${(max_hz / 1000).toFixed(0)} kHz` : `${max_hz} Hz`, raw: { header, arrays } };
      this.timeline.dirty = true; this.invalidate();
    });
  }

  setMatches(system, { header, arrays }) {
    const n = arrays.label.length, byLabel = new Map(), byPrediction = new Map();
    for (let i = 0; i < n; i++) { byLabel.set(arrays.label[i], i); byPrediction.set(arrays.prediction[i], i); }
    this.matches[system] = { header, pairs: arrays, byLabel, byPrediction };
    this.refreshErrors(); this.showScores(); this.invalidate(true);
  }

  // Errors of the system in charge (A in the side-by-side view) at the chosen IoU.
  get lead() { return this.layout === "B" ? "B" : "A"; }
  eventsOf(system) {
    const m = this.matches[system]; if (!m) return null;
    const p = "e" + this.prefs.threshold + ".", a = m.pairs;
    return { frame: a[p + "frame"], kind: a[p + "kind"], label: a[p + "label"], prediction: a[p + "prediction"] };
  }
  refreshErrors() {
    if (this.theme) this.legendRow();
    const e = this.eventsOf(this.lead); this.events = e;
    if (!e) { this.timeline.errors = []; this.timeline.dirty = true; return; }
    const L = this.scene.columns.L, P = this.scene.columns[this.lead];
    this.timeline.setErrors(e, (i) => (e.label[i] >= 0 ? L.category[e.label[i]] : P.category[e.prediction[i]]));
  }

  // ---------- state ----------
  get shown() { return !this.scene ? [] : (this.layout === "AB" ? ["A", "B"] : [this.layout]).filter((t) => this.scene.tables.includes(t)); }
  clock(seconds, digits) {
    const m = Math.floor(seconds / 60 + 1e-9), s = Math.max(0, seconds - m * 60);
    return `${m}:${s.toFixed(digits).padStart(digits ? 3 + digits : 2, "0")}`;
  }
  setPref(name, value) {
    this.prefs[name] = value;
    try { localStorage.setItem("sai.player", JSON.stringify(this.prefs)); } catch { /* private window */ }
    if (name === "mode") { this.store.clear(); this.decoding.clear(); this.pending = null; this.plan(); }
    if (name === "threshold") this.refreshErrors();
    if (name === "cmap") { this.paintScales(); if (this.timeline.spectrogram) this.setSpectrogram(this.timeline.spectrogram.raw); }
    if (name === "scale") this.paintScales();
    if (name === "rate" && this.playing) { this.pause(); this.play(); }
    if (name === "overlay") { this.plan(); this.saveUrl(); }
    if (name === "overlay" || name === "bands") this.paintScales();
    this.syncControls(); this.invalidate(true);
  }
  syncControls() {
    for (const el of this.root.querySelectorAll("[data-pref]")) el.value = this.prefs[el.dataset.pref];
    const h = this.scene && this.scene.header; if (!h) return;
    const overlay = this.root.querySelector('[data-pref="overlay"]');
    for (const o of [...overlay.options]) if (o.value.startsWith("ac.") && !h.acoustic.some((a) => "ac." + a.kind === o.value)) o.remove();
    for (const a of h.acoustic) if (![...overlay.options].some((o) => o.value === "ac." + a.kind)) { const o = document.createElement("option"); o.value = "ac." + a.kind; o.textContent = a.title; overlay.append(o); }
    const option = (v, ok) => { const o = this.root.querySelector(`[data-pref="overlay"] option[value="${v}"]`); o.hidden = o.disabled = !ok; };
    option("L", h.has.labels); option("A", !!h.systems.A); option("B", !!h.systems.B);
    overlay.value = this.overlay;
    this.ref.acLabel.style.display = this.acousticKind ? "" : "none";
    this.root.querySelector('[data-pref="opacity"]').disabled = this.overlay === "none";
    this.ref.layout.hidden = !h.systems.B;
    for (const b of this.root.querySelectorAll('[data-act="layout"]')) { b.classList.toggle("on", b.dataset.v === this.layout); b.title = b.dataset.v === "AB" ? "Both systems side by side" : (h.systems[b.dataset.v] || {}).title || ""; }
    this.root.querySelector('[data-act="merged"]').classList.toggle("on", !this.isolate);
    this.root.querySelector('[data-act="single"]').classList.toggle("on", !!this.isolate);
    this.root.querySelector('[data-act="tags"]').classList.toggle("on", this.showTags);
    this.root.querySelector('[data-act="loop"]').classList.toggle("on", this.loopOn);
    this.root.querySelector('[data-act="mute"]').classList.toggle("muted", this.sound.muted || !h.has.audio);
    this.root.querySelector('[data-act="mute"]').disabled = !h.has.audio;
    this.root.querySelector('[data-act="play"]').classList.toggle("playing", this.playing);
    this.ref.zoom.textContent = (this.view.z < 9.95 ? this.view.z.toFixed(this.view.z < 1.05 ? 0 : 1) : this.view.z.toFixed(0)) + "×";
  }

  act(name, value) {
    const d = { back: -1, next: 1, back10: -10, next10: 10 };
    if (name in d) this.step(d[name]);
    else if (name === "home") this.seek(0); else if (name === "end") this.seek(this.nFrames - 1);
    else if (name === "play") this.toggle();
    else if (name === "nextError") this.jumpError(1); else if (name === "prevError") this.jumpError(-1);
    else if (name === "zoomIn") this.zoomAt(1.5); else if (name === "zoomOut") this.zoomAt(1 / 1.5); else if (name === "zoomReset") this.resetView();
    else if (name === "layout") { this.layout = value; this.max = null; this.refreshErrors(); this.syncControls(); this.arrange(); this.saveUrl(); }
    else if (name === "merged") this.setIsolate(null); else if (name === "single") this.cycleSource();
    else if (name === "loop") { if (!this.loop) this.setLoop(this.frame, Math.min(this.nFrames, this.frame + 50)); else { this.loopOn = !this.loopOn; this.timeline.dirty = true; } this.syncControls(); this.invalidate(); this.saveUrl(); }
    else if (name === "mute") { this.sound.mute(!this.sound.muted); this.syncControls(); }
    else if (name === "tags") { this.showTags = !this.showTags; this.syncControls(); this.invalidate(true); }
    else if (name === "save") this.savePicture();
    else if (name === "help") this.ref.help.hidden = !this.ref.help.hidden;
  }

  onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !this.scene || !this.root.isConnected) return;
    const target = e.composedPath()[0];
    if (target instanceof Element && (target.closest("input, textarea, select, [contenteditable], [role=combobox], [role=listbox], [role=dialog], [role=menu]") || target.isContentEditable) && target.type !== "range") return;
    if (target instanceof HTMLButtonElement && !this.root.contains(target) && (e.key === " " || e.key === "Enter")) return;
    if (target instanceof HTMLInputElement && target.type === "range" && e.key.startsWith("Arrow")) return;
    const k = e.key, keys = {
      ArrowLeft: () => this.step(e.shiftKey ? -10 : -1), ArrowRight: () => this.step(e.shiftKey ? 10 : 1),
      " ": () => this.toggle(), Home: () => this.seek(0), End: () => this.seek(this.nFrames - 1),
      n: () => this.jumpError(1), p: () => this.jumpError(-1), e: () => this.jumpError(1), E: () => this.jumpError(-1),
      "+": () => this.zoomAt(1.5), "=": () => this.zoomAt(1.5), "-": () => this.zoomAt(1 / 1.5), "−": () => this.zoomAt(1 / 1.5), 0: () => this.resetView(),
      m: () => (this.isolate ? this.setIsolate(null) : this.cycleSource()), o: () => this.act("tags"), s: () => this.savePicture(), l: () => this.act("loop"),
      "[": () => this.setLoop(this.frame, Math.max(this.frame + 1, this.loop ? this.loop[1] : this.nFrames)),
      "]": () => this.setLoop(Math.min(this.loop ? this.loop[0] : 0, this.frame), this.frame + 1),
      "?": () => this.act("help"),
      Escape: () => { if (!this.ref.help.hidden) this.ref.help.hidden = true; else if (this.isolate) this.setIsolate(null); else if (this.max) this.maximise(this.max); },
    };
    let fn = keys[k];
    if (!fn && /^[1-6]$/.test(k)) { const kinds = this.order(); if (kinds[k - 1]) fn = () => this.maximise(kinds[k - 1]); }
    if (!fn) return;
    e.preventDefault(); e.stopPropagation();
    this.keyAt = e.timeStamp;
    fn();
  }

  step(n) { this.seek(this.frame + n); }
  seek(frame) {
    const f = Math.min(Math.max(Math.round(frame), 0), this.nFrames - 1);
    if (this.playing) { this.frame = f; this.startSound(); }
    this.show(f);
  }
  show(f) {
    this.frame = f;
    this.timeline.follow(f);
    this.warm(); this.invalidate(true); this.plan(); this.saveUrl();
  }
  // Decode the pictures around the cursor ahead of need.
  warm() {
    if (!this.scene || !this.scene.header.has.video) return;
    const done = (frame) => { if (frame === this.frame) this.invalidate(true); };
    const range = this.playing ? [0, 1, 2, 3, 4, 5, 6, 7, 8] : [0, 1, -1, 2, -2, 3, -3, 4, 5, 10, -10];
    for (const d of range) {
      const f = this.frame + d; if (f < 0 || f >= this.nFrames) continue;
      const block = this.store.blocks.get(this.blockAt(f)); if (block) this.store.picture(f, block, done);
    }
  }
  jumpError(direction) {
    const e = this.events;
    if (!e || !e.frame.length) { this.flash(!this.scene.header.has.labels || !this.shown.length ? "Errors need labels and a prediction set." : e ? "No errors at this threshold." : "Matching is still running."); return; }
    let best = -1;
    for (let i = 0; i < e.frame.length; i++) {
      const f = e.frame[i];
      if (direction > 0 ? f > this.frame : f < this.frame) { best = f; if (direction > 0) break; }
    }
    if (best < 0) this.flash(direction > 0 ? "No error after this frame." : "No error before this frame."); else this.seek(best);
  }
  setLoop(a, b) { this.loop = [a, b]; this.loopOn = true; this.timeline.dirty = true; this.syncControls(); this.invalidate(); this.saveUrl(); }

  // ---------- playing ----------
  toggle() { if (this.playing) this.pause(); else this.play(); }
  play() {
    if (!this.nFrames) return;
    if (this.loopOn && this.loop && (this.frame < this.loop[0] || this.frame >= this.loop[1])) this.frame = this.loop[0];
    else if (this.frame >= this.nFrames - 1) this.frame = 0;
    this.playing = true; this.syncControls(); this.startSound(); this.tick(); this.plan();
  }
  async startSound() {
    const at = this.frame; this.starting = true;
    const ok = await this.sound.start(at, Number(this.prefs.rate), (f) => this.blockOf(f), this.scene.header.has.audio);
    this.starting = false;
    if (ok && !this.playing) this.sound.stop();
  }
  pause() {
    if (!this.playing) return;
    this.playing = false; this.waiting = false; this.sound.stop(); this.note(""); this.syncControls(); this.saveUrl();
  }
  resume() { if (this.playing && this.waiting) { this.waiting = false; this.note(""); this.startSound(); } }
  tick() {
    if (!this.playing || this.dead) return;
    this.tickRaf = requestAnimationFrame(() => this.tick());
    if (this.starting || this.waiting || !this.sound.running) return;
    const position = this.sound.position(), end = this.loopOn && this.loop ? this.loop[1] : this.nFrames;
    let f = Math.floor(position + 1e-6);
    if (f >= end) {
      if (this.loopOn && this.loop) { this.frame = this.loop[0]; this.startSound(); this.show(this.frame); }
      else { this.pause(); this.show(this.nFrames - 1); }
      return;
    }
    if (!this.store.has(this.blockAt(f))) { // never run ahead of what can be shown
      this.waiting = true; this.stats.buffering++; this.sound.stop(); this.note("Loading …"); this.frame = f; this.plan(); return;
    }
    this.sound.pump();
    if (f !== this.frame) { this.frame = f; this.timeline.follow(f); this.warm(); this.plan(); this.dirty = true; this.draw(); this.saveUrl(); }
    // what is on screen against what is heard, in ms; the frame is right while this lies in [0, 100)
    if (this.sound.audible) { this.stats.sync.push((position - this.drawn) * 100 / Number(this.prefs.rate)); if (this.stats.sync.length > 4000) this.stats.sync.shift(); }
  }

  // ---------- sources ----------
  matchPair(system, table, row) {
    const m = this.matches[system]; if (!m) return -1;
    return (table === "L" ? m.byLabel : m.byPrediction).get(row) ?? -1;
  }
  rows(table, frame = this.frame) { // rows of a frame, by bisection
    const c = this.scene.columns[table]; if (!c) return [];
    const a = c.frame; let lo = 0, hi = a.length;
    while (lo < hi) { const mid = (lo + hi) >> 1; if (a[mid] < frame) lo = mid + 1; else hi = mid; }
    const out = []; while (lo < a.length && a[lo] === frame) out.push(lo++);
    return out;
  }
  isolateRow(table, row) {
    const c = this.scene.columns[table], s = { table, category: c.category[row], instance: c.instance[row] };
    const same = this.isolate && this.isolate.table === table && this.isolate.category === s.category && this.isolate.instance === s.instance;
    this.setIsolate(same ? null : s);
  }
  setIsolate(source) { this.isolate = source; this.syncControls(); this.invalidate(true); this.saveUrl(); }
  cycleSource() {
    const all = [];
    for (const t of this.scene.tables) if (t === "L" || this.shown.includes(t)) for (const r of this.rows(t)) all.push([t, r]);
    if (!all.length) { this.flash("No source in this frame."); return; }
    const at = this.isolate ? all.findIndex(([t, r]) => this.isIsolated(t, r)) : -1;
    const [t, r] = all[(at + 1) % all.length]; this.isolate = null; this.isolateRow(t, r);
  }
  isIsolated(table, row) {
    const s = this.isolate, c = this.scene.columns[table];
    return !!s && s.table === table && row >= 0 && c.category[row] === s.category && c.instance[row] === s.instance;
  }
  // A prediction below the lowest score is not drawn; official figures count it all the same. Without a score it is.
  scored(table, row) { return table === "L" || row < 0 || !(this.scene.columns[table].score[row] < Number(this.prefs.floor)); }
  // Rows of a table that the isolated source stands for: itself, and in the other tables what it is matched with.
  accepts(table) {
    if (!this.isolate) return (row) => this.scored(table, row);
    const s = this.isolate;
    if (s.table === table) return (row) => this.isIsolated(table, row);
    const chosen = new Set();
    for (const row of this.rows(s.table)) {
      if (!this.isIsolated(s.table, row)) continue;
      const system = table === "L" ? s.table : table;
      if (s.table !== "L" && table !== "L") continue; // two systems are linked through the label only
      const pair = this.matchPair(system, s.table, row);
      if (pair >= 0) chosen.add(this.matches[system].pairs[table === "L" ? "label" : "prediction"][pair]);
      else if (!this.matches[system]) for (const r of this.rows(table)) if (this.scene.columns[table].category[r] === s.category) chosen.add(r);
    }
    return (row) => chosen.has(row);
  }
  pick(at) {
    if (!at || !this.scene) return;
    const block = this.blockOf(this.frame); if (!block) return;
    let best = null;
    for (const p of block.frames[this.frame - block.start]) {
      const q = block.patch(p), t = this.scene.tables[q.table];
      if (q.row < 0 || (t !== "L" && !this.shown.includes(t))) continue;
      if (this.valueIn(block, q, at) > 0 && (!best || q.w * q.h < best.area)) best = { t, row: q.row, area: q.w * q.h };
    }
    if (best) this.isolateRow(best.t, best.row); else if (this.isolate) this.setIsolate(null);
  }
  valueIn(block, q, at) {
    let cx = Math.floor(at.x) - q.x0; if (cx < 0) cx += W;
    const cy = Math.floor(at.y) - q.y0;
    return cx < q.w && cy >= 0 && cy < q.h ? block.values[q.offset + cy * q.w + cx] : 0;
  }

  // ---------- view ----------
  zoomAt(factor, at) {
    const v = this.view, z = Math.min(Math.max(v.z * factor, 1), 24);
    if (at && z !== v.z) {
      let dx = at.x - v.x; dx = ((((dx + 180) % 360) + 360) % 360) - 180;
      const k = v.z / z; v.x += dx * (1 - k); v.y += (at.y - v.y) * (1 - k);
    }
    v.z = z; this.clampView();
  }
  pan(dx, dy) { this.view.x += dx; this.view.y += dy; this.clampView(); }
  clampView() {
    const v = this.view, half = 90 / v.z;
    v.x = ((v.x % 360) + 360) % 360; v.y = Math.min(Math.max(v.y, half), 180 - half);
    this.syncControls(); this.invalidate(); this.saveUrl();
  }
  resetView() { this.view = { x: 180, y: 90, z: 1 }; this.clampView(); }
  maximise(kind) { this.max = this.max === kind ? null : kind; this.arrange(); this.saveUrl(); }
  order() { return LAYOUTS[this.layout].flat(); }
  hover(at) { this.cursor = at; this.showProbe(); this.invalidate(); }

  // Fill what is left of the window below the page's own controls.
  fit() {
    const host = this.host.host || this.host, main = host.closest("[data-testid=stMain]");
    if (!main) return;
    const top = this.root.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop;
    const height = Math.max(600, Math.floor(main.clientHeight - top - 8));
    if (Math.abs(height - this.root.offsetHeight) > 1) this.root.style.height = height + "px";
  }

  arrange() {
    if (!this.scene || this.dead) return;
    this.fit();
    const box = this.ref.panels, t = this.ref.timeBox, bw = box.clientWidth; if (!bw || !box.clientHeight) return;
    const room = box.clientHeight + t.offsetHeight; // panels and timeline share this height
    const grid = this.max && this.order().includes(this.max) ? [[this.max]] : LAYOUTS[this.layout];
    const cols = grid[0].length, rowsN = grid.length, gap = 10, head = 22, mx = MARGIN.left + MARGIN.right, my = MARGIN.top + MARGIN.bottom;
    const wanted = Math.round(Math.min(this.timeline.wanted, room * 0.36)), byWidth = (bw - gap * (cols - 1)) / cols;
    const full = rowsN * ((byWidth - mx) / 2 + my + head) + (rowsN - 1) * gap * 0.6; // height if the width decides
    const timeHeight = Math.round(Math.min(Math.max(wanted, room - full - 4), wanted * 1.2)), bh = room - timeHeight;
    if (t.offsetHeight !== timeHeight) t.style.height = timeHeight + "px";
    const byHeight = ((bh - gap * 0.6 * (rowsN - 1)) / rowsN - head - my) * 2 + mx;
    const w = Math.floor(Math.max(160, Math.min(byWidth, byHeight))), h = Math.round((w - mx) / 2 + my);
    const usedW = cols * w + (cols - 1) * gap, usedH = rowsN * (h + head) + (rowsN - 1) * gap * 0.6;
    const left = Math.max(0, (bw - usedW) / 2), extra = Math.max(0, (bh - usedH) / (rowsN + 1));
    const kinds = grid.flat();
    for (const [kind, panel] of this.panels) if (!kinds.includes(kind)) panel.box.remove();
    grid.forEach((row, r) => row.forEach((kind, c) => {
      let panel = this.panels.get(kind);
      if (!panel) { panel = new Panel(this, kind); this.panels.set(kind, panel); }
      if (!panel.box.isConnected) box.append(panel.box);
      panel.place(left + c * (w + gap), extra + r * (h + head + gap * 0.6 + extra * 0.5), w, h);
      const n = this.order().indexOf(kind) + 1;
      panel.key.textContent = n; panel.key.title = `This panel alone, and back (${n})`;
    }));
    this.visible = kinds; this.paintTitles(); this.paintScales();
    this.timeline.resize(t.clientWidth, t.clientHeight);
    this.invalidate(true);
  }
  paintTitles() {
    const h = this.scene.header, name = (t) => (h.systems[t] ? h.systems[t].title : "no prediction set");
    const titles = {
      rgb: ["Video", this.overlayText()],
      gt: ["Ground truth", this.isolate ? "single source" : ""], predA: [h.systems.B ? "Prediction A" : "Prediction", name("A")],
      predB: ["Prediction B", name("B")], resA: [h.systems.B ? "Residual A" : "Residual", h.systems.B ? "A − label" : "prediction − label"], resB: ["Residual B", "B − label"],
    };
    for (const [kind, panel] of this.panels) {
      panel.title.textContent = titles[kind][0]; panel.sub.textContent = titles[kind][1];
      panel.canvas.setAttribute("aria-label", titles[kind].join(" "));
    }
  }
  overlayText() {
    const o = this.overlay, kind = this.acousticKind;
    if (!kind) return { none: this.showTags && this.shown.length ? "label solid, prediction dashed" : "", L: "+ label energy", A: "+ prediction A", B: "+ prediction B" }[o];
    const st = this.status["ac." + kind] || {}, title = this.scene.header.acoustic.find((a) => a.kind === kind).title;
    if (st.state === "error") return `+ ${title}: not available`;
    if (st.state === "running") return `+ ${title}: computing ${Math.round((st.fraction || 0) * 100)} %`;
    return `+ ${title}, ${{ median: "median of bands", max: "maximum of bands", rgb: "low, mid, high bands as RGB" }[this.prefs.bands] || `band ${Number(this.prefs.bands) + 1}`}`;
  }
  paintScales() {
    if (!this.scene || !this.theme || !this.visible) return;
    const lut = this.luts[this.prefs.cmap], top = this.prefs.scale === "peak" ? "peak" : "1";
    for (const [kind, panel] of this.panels) {
      if (kind === "rgb") { const o = this.overlay, ac = !!this.acousticKind; panel.legend(o === "none" || (ac && this.prefs.bands === "rgb") ? null : lut, ["0", ac ? (top === "1" ? "max" : "peak") : top]); }
      else if (kind.startsWith("res")) panel.legend(this.diverging(), ["−1", "+1"]);
      else panel.legend(lut, ["0", top]);
    }
  }
  diverging() { return this.luts[this.theme.dark ? "diverging_dark" : "diverging_light"]; }

  // ---------- drawing ----------
  invalidate(full = false) {
    if (full) this.dirty = true;
    if (this.raf) return;
    this.raf = requestAnimationFrame(() => { this.raf = 0; this.draw(); });
  }

  draw() {
    if (!this.scene || !this.theme || !this.visible || this.dead) return;
    const block = this.nFrames ? this.blockOf(this.frame) : null, h = this.scene.header;
    if (this.dirty && (block || !this.nFrames)) {
      this.composeFrame(block); this.showFrame(); this.paintTitles();
      this.dirty = false;
    } else if (!block) this.showFrame();
    const picture = block && h.has.video ? this.store.picture(this.frame, block, (f) => { if (f === this.frame) this.invalidate(); }) : null;
    if (picture) this.lastPicture = picture;
    const loading = this.nFrames && !block ? "Loading frames …" : "";
    const outlines = block ? this.outlineSet(block) : { L: [], A: [], B: [] };
    const light = !this.theme.dark;
    for (const kind of this.visible) {
      const panel = this.panels.get(kind), tags = this.showTags, t = kind.slice(-1), system = h.systems[t];
      if (kind === "rgb") {
        const o = this.overlay, failed = this.acousticKind && (this.status["ac." + this.acousticKind] || {}).state === "error";
        panel.draw({
          source: picture, over: o !== "none" && block ? this.overlayRaster.canvas : null, overAlpha: 1,
          message: loading || (failed ? this.status["ac." + this.acousticKind].text : "") || (h.has.video ? (block && !block.picture(this.frame) ? (this.frame < h.picture_frames ? "This picture is damaged and cannot be shown." : `No picture at this time: the video ends at ${(h.picture_frames / h.frame_rate_hz).toFixed(1)} s.`) : "") : o === "none" ? h.messages.video : ""),
          outlines: tags ? [...outlines.L.map((x) => ({ ...x, tag: x.short, brief: x.short })), ...this.shown.slice(0, 1).flatMap((s) => outlines[s].map((x) => ({ ...x, dash: true, tag: "" })))] : [], tags,
        });
      } else if (kind === "gt") {
        panel.draw({ source: panel.raster.canvas, message: loading || h.messages.labels, outlines: tags ? outlines.L : [], tags });
      } else if (kind.startsWith("pred")) {
        panel.draw({ source: panel.raster.canvas, message: loading || (system ? h.messages[t] : "Choose a prediction set above."), outlines: tags ? outlines[t] : [], tags });
      } else {
        panel.draw({
          source: panel.raster.canvas, light, message: loading || (h.messages.labels || !system || h.messages[t] ? "The residual needs labels and a prediction." : ""),
          outlines: tags ? [...outlines.L, ...outlines[t].map((x) => ({ ...x, dash: true }))] : [], tags: false,
        });
      }
    }
    this.timeline.draw();
    this.stats.draws++;
    const complete = block && (!h.has.video || !block.picture(this.frame) || picture);
    if (complete) {
      this.drawn = this.frame;
      lastFrames.set(this.scene.header.recording, this.frame);
      if (this.keyAt !== undefined) { this.stats.steps.push(performance.now() - this.keyAt); this.keyAt = undefined; }
      if (!this.firstPicture) { this.firstPicture = performance.now(); this.root.dataset.ready = "1"; }
      this.root.dataset.frame = this.frame;
    }
  }

  // Merged (or isolated) maps, scaled and coloured.
  composeFrame(block) {
    const { tables } = this.scene, energy = this.luts[this.prefs.cmap], perPeak = this.prefs.scale === "peak", gain = {};
    for (const t of ["L", "A", "B"]) {
      const number = tables.indexOf(t), field = this.fields[t];
      if (block && number >= 0) this.peaks[t] = compose(block, this.frame, number, this.accepts(t), field);
      else { field.fill(0); this.peaks[t] = 0; }
      gain[t] = perPeak && this.peaks[t] ? 255 / this.peaks[t] : 1;
    }
    const paint = (raster, t) => {
      const f = this.fields[t], out = raster.pixels, g = gain[t];
      for (let i = 0; i < f.length; i++) out[i] = energy[g === 1 ? f[i] : (f[i] * g + 0.5) | 0];
      raster.flush();
    };
    for (const kind of this.visible) {
      const panel = this.panels.get(kind), t = kind.slice(-1);
      if (kind === "gt") paint(panel.raster, "L");
      else if (kind.startsWith("pred")) paint(panel.raster, t);
      else if (kind.startsWith("res")) {
        const lut = this.diverging(), L = this.fields.L, P = this.fields[t], out = panel.raster.pixels, a = gain.L, b = gain[t], s = 127 / 255;
        for (let i = 0; i < L.length; i++) out[i] = lut[Math.round(127 + (P[i] * b - L[i] * a) * s)];
        panel.raster.flush();
      }
    }
    const o = this.overlay, out = this.overlayRaster.pixels, opacity = this.prefs.opacity;
    if (o === "L" || o === "A" || o === "B") {
      const f = this.fields[o], g = gain[o];
      for (let i = 0; i < f.length; i++) {
        const v = (f[i] * g + 0.5) | 0; // faint energy fades in, so that the picture stays visible around a region
        out[i] = v ? ((energy[v] & 0xffffff) | (Math.round(255 * opacity * Math.min(1, 0.25 + v / 110)) << 24)) >>> 0 : 0;
      }
      this.overlayRaster.flush();
    } else if (this.acousticKind) {
      if (this.lattice) this.paintLattice(this.lattice, energy, opacity); else { out.fill(0); this.overlayRaster.flush(); }
    }
  }
  // Lattice maps through the index table; the fixed scale keeps a quiet frame quiet.
  paintLattice(lattice, energy, opacity) {
    const N = 484, B = 9, k = this.frame - lattice.start, base = k * B * N, l = lattice.values, mode = this.prefs.bands;
    const gain = this.prefs.scale === "fixed" ? lattice.loudness[k] : 1, px = new Uint32Array(N), s = new Array(B);
    for (let n = 0; n < N; n++) {
      const at = (b) => l[base + b * N + n] * gain;
      if (mode === "rgb") {
        const r = (at(0) + at(1) + at(2)) / 3, g = (at(3) + at(4) + at(5)) / 3, b = (at(6) + at(7) + at(8)) / 3, m = Math.max(r, g, b);
        px[n] = ((Math.round(255 * opacity * Math.min(1, m / 140)) << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0;
        continue;
      }
      let v;
      if (mode === "max") { v = 0; for (let b = 0; b < B; b++) v = Math.max(v, at(b)); }
      else if (mode === "median") { for (let b = 0; b < B; b++) s[b] = at(b); s.sort((x, y) => x - y); v = s[4]; }
      else v = at(Number(mode));
      v = Math.min(255, Math.round(v));
      px[n] = ((energy[v] & 0xffffff) | (Math.round(255 * opacity * Math.min(1, 0.1 + v / 110)) << 24)) >>> 0;
    }
    const out = this.overlayRaster.pixels, index = this.latticeIndex;
    for (let i = 0; i < out.length; i++) out[i] = px[index[i]];
    this.overlayRaster.flush();
  }

  brighten(hex) { // class colours are made for the page; over dark maps they are drawn lighter
    const c = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return `rgb(${c.map((v) => Math.round(v + (255 - v) * 0.38)).join(",")})`;
  }
  outlineSet(block) {
    const out = { L: [], A: [], B: [] }, { tables, columns } = this.scene, accept = {};
    for (const t of tables) accept[t] = this.accepts(t);
    for (const p of block.frames[this.frame - block.start]) {
      const q = block.patch(p), t = tables[q.table];
      if (q.row < 0 || !accept[t](q.row)) continue;
      const c = columns[t], cls = this.classes.get(c.category[q.row]), parts = [cls.short];
      if (t !== "L" && isFinite(c.score[q.row])) parts.push(c.score[q.row].toFixed(2));
      if (isFinite(c.distance[q.row])) parts.push((c.distance[q.row] / 100).toFixed(1) + " m");
      out[t].push({ lines: block.outlines[p], color: cls.color, bright: this.brighten(cls.color), tag: parts.join(" · "), brief: parts.slice(0, t === "L" ? 1 : 2).join(" · "), short: cls.short });
    }
    return out;
  }

  // The panels as they stand, with their titles and scales, at the screen's resolution.
  pictureCanvas() {
    const dpr = window.devicePixelRatio || 1, boxes = this.visible.map((k) => this.panels.get(k)), pad = 12, foot = 26;
    const x0 = Math.min(...boxes.map((b) => b.box.offsetLeft)), y0 = Math.min(...boxes.map((b) => b.box.offsetTop));
    const x1 = Math.max(...boxes.map((b) => b.box.offsetLeft + b.width)), y1 = Math.max(...boxes.map((b) => b.box.offsetTop + b.height + 22));
    const c = document.createElement("canvas"); c.width = (x1 - x0 + 2 * pad) * dpr; c.height = (y1 - y0 + 2 * pad + foot) * dpr;
    const x = c.getContext("2d"); x.scale(dpr, dpr); x.fillStyle = this.theme.bg; x.fillRect(0, 0, c.width, c.height);
    x.textBaseline = "middle";
    for (const b of boxes) {
      const left = b.box.offsetLeft - x0 + pad, top = b.box.offsetTop - y0 + pad;
      x.drawImage(b.canvas, left, top + 22, b.width, b.height);
      if (b.scale.width) x.drawImage(b.scale, left + b.width - b.scale.offsetWidth - 4, top + 1, b.scale.offsetWidth, b.scale.offsetHeight);
      x.font = `600 13px ${this.theme.font}`; x.fillStyle = this.theme.fg; x.fillText(b.title.textContent, left + 32, top + 11);
      const w = x.measureText(b.title.textContent).width;
      x.font = `12.5px ${this.theme.font}`; x.fillStyle = this.theme.dim; x.fillText(b.sub.textContent, left + 40 + w, top + 11);
    }
    const h = this.scene.header, systems = this.shown.map((t) => h.systems[t].title).join(", ");
    x.font = `12px ${this.theme.font}`; x.fillStyle = this.theme.dim;
    x.fillText([h.recording, `${this.clock(this.frame / 10, 1)} (frame ${this.frame})`, systems, h.simulated ? "simulated recording" : ""].filter(Boolean).join("  ·  "), pad + 32, y1 - y0 + pad + foot - 6);
    return c;
  }
  savePicture() {
    if (!this.visible || !this.scene) return;
    this.pictureCanvas().toBlob((blob) => {
      const a = document.createElement("a"); a.href = URL.createObjectURL(blob);
      a.download = `${this.scene.header.recording.replace(/[^\w.-]+/g, "_")}_frame${String(this.frame).padStart(4, "0")}.png`;
      a.click(); setTimeout(() => URL.revokeObjectURL(a.href), 10000);
    }, "image/png");
  }

  // ---------- numbers beside the panels ----------
  text(el, value) { if (el.textContent !== value) el.textContent = value; }
  showFrame() {
    this.text(this.ref.time, this.clock(this.frame / 10, 1));
    this.text(this.ref.frame, `frame ${this.frame} of ${this.nFrames}`);
    this.showProbe(); this.showPairs();
  }
  showProbe() {
    const c = this.cursor, n = (v, d) => (v === undefined || !isFinite(v) ? "–" : (v < 0 ? "−" : "") + Math.abs(v).toFixed(d));
    const rows = [];
    if (!c || !this.scene) rows.push(["Point at a panel for direction, energy and class.", null]);
    else {
      let az = 180 - c.x; if (az >= 180) az -= 360; const el = 90 - c.y;
      const i = Math.floor(c.y) * W + Math.floor(c.x), e = (t) => this.fields[t][i] / 255;
      rows.push(["Azimuth", (az > 0 ? "+" : "") + n(az, 1) + "°"], ["Elevation", (el > 0 ? "+" : "") + n(el, 1) + "°"]);
      if (this.scene.tables.includes("L")) rows.push(["Label", e("L").toFixed(2)]);
      for (const t of this.shown) rows.push([this.layout === "AB" ? "Pred. " + t : "Prediction", e(t).toFixed(2)]);
      const lattice = this.lattice;
      if (lattice && this.prefs.bands !== "rgb") {
        const k = (this.frame - lattice.start) * 4356 + this.latticeIndex[i], v = [];
        for (let b = 0; b < 9; b++) v.push(lattice.values[k + b * 484] / 255);
        const sorted = [...v].sort((a, b) => a - b), mode = this.prefs.bands;
        const value = mode === "max" ? sorted[8] : mode === "median" ? sorted[4] : v[Number(mode)];
        rows.push(["Acoustic", (value * (this.prefs.scale === "fixed" ? lattice.loudness[this.frame - lattice.start] : 1)).toFixed(2)]);
      }
      const names = new Set(), block = this.blockOf(this.frame);
      if (block) for (const p of block.frames[this.frame - block.start]) {
        const q = block.patch(p), t = this.scene.tables[q.table];
        if (q.row >= 0 && (t === "L" || this.shown.includes(t)) && this.valueIn(block, q, c) > 0) names.add(`${this.classes.get(this.scene.columns[t].category[q.row]).name} (${t === "L" ? "label" : this.layout === "AB" ? t : "pred."})`);
      }
      rows.push(["Class", [...names].join(", ") || "none", "w"]);
    }
    const box = this.ref.probe, key = JSON.stringify(rows);
    if (key === this.probeKey) return; this.probeKey = key;
    box.replaceChildren(...rows.flatMap(([k, v, cls]) => {
      const dt = document.createElement("dt"); dt.textContent = k; if (cls) dt.style.gridColumn = "1"; if (v === null) { dt.style.gridColumn = "1 / 5"; return [dt]; }
      const dd = document.createElement("dd"); dd.textContent = v; if (cls) dd.className = cls; return [dt, dd];
    }));
  }

  showPairs() {
    const { columns, tables } = this.scene, F = (v, d) => (isFinite(v) ? v.toFixed(d) : "–"), body = [];
    const both = this.layout === "AB", L = columns.L;
    for (const t of this.shown.length ? this.shown : [null]) {
      const m = t && this.matches[t], P = t && columns[t], seenL = new Set(), seenP = new Set(), e = t && this.eventsOf(t);
      const tagCell = both ? t : "";
      if (m && L) {
        for (const row of this.rows("L")) {
          const i = m.byLabel.get(row); if (i === undefined) continue;
          const pr = m.pairs.prediction[i]; seenL.add(row); seenP.add(pr);
          body.push({ t: "L", k: row, sys: tagCell, c: L.category[row], weak: m.pairs.iou[i] < Number(this.prefs.threshold),
            cells: [F(m.pairs.iou[i], 2), F(m.pairs.pearson[i], 2), F(m.pairs.angle[i], 1) + "°", isFinite(m.pairs.distance[i]) ? (m.pairs.distance[i] > 0 ? "+" : m.pairs.distance[i] < 0 ? "−" : "") + Math.abs(m.pairs.distance[i] / 100).toFixed(2) : "–"] });
        }
        // errors of this frame at the chosen threshold; weak pairs are already above
        if (e) for (let i = this.firstEvent(e); i < e.frame.length && e.frame[i] === this.frame; i++) {
          const l = e.label[i], p = e.prediction[i];
          if (e.kind[i] === 2) body.push({ t: "L", k: l, sys: tagCell, c: L.category[l], err: 2, text: "taken for " + this.classes.get(P.category[p]).name });
          else if (e.kind[i] === 0 && !seenL.has(l)) body.push({ t: "L", k: l, sys: tagCell, c: L.category[l], err: 0, text: "missed" });
          else if (e.kind[i] === 1 && !seenP.has(p) && this.scored(t, p)) body.push({ t, k: p, sys: tagCell, c: P.category[p], err: 1, text: "false positive" + (isFinite(P.score[p]) ? ` · score ${P.score[p].toFixed(2)}` : "") });
        }
      } else {
        if (L && !body.some((b) => b.t === "L")) for (const row of this.rows("L")) body.push({ t: "L", k: row, sys: "L", c: L.category[row], text: "label" + (isFinite(L.distance[row]) ? ` · ${(L.distance[row] / 100).toFixed(1)} m` : "") });
        if (t && P) for (const row of this.rows(t)) if (this.scored(t, row)) body.push({ t, k: row, sys: t, c: P.category[row], text: "prediction" + (isFinite(P.score[row]) ? ` · score ${P.score[row].toFixed(2)}` : "") });
      }
    }
    const key = this.frame + JSON.stringify(body) + JSON.stringify(this.isolate);
    if (key === this.pairKey) return; this.pairKey = key;
    const box = this.ref.pairs;
    this.ref.pairNote.textContent = this.isolate ? "single source · Esc for all" : "";
    if (!body.length) {
      const d = document.createElement("div"); d.className = "empty";
      d.textContent = !tables.length ? "Neither labels nor predictions of this recording are at hand." : "No source is labelled or predicted in this frame.";
      box.replaceChildren(d); return;
    }
    const table = document.createElement("table"), head = table.createTHead().insertRow(), tb = table.createTBody();
    for (const [text, tip] of [["Class", ""], ["IoU", "Soft IoU on the official 100 × 50 canvas"], ["r", "Pearson correlation of the two maps"], ["Δ angle", "Great-circle angle between the strongest points"], ["Δ m", "Distance error in metres, prediction − label"]]) {
      const th = document.createElement("th"); th.textContent = text; th.title = tip; head.append(th);
    }
    for (const b of body) {
      const tr = tb.insertRow(); tr.dataset.t = b.t; tr.dataset.k = b.k;
      if (this.isIsolated(b.t, b.k)) tr.className = "sel";
      const first = tr.insertCell(), sw = document.createElement("span"); sw.className = "sw"; sw.style.background = this.classes.get(b.c).color;
      if (b.sys) { const s = document.createElement("span"); s.className = "sys"; s.textContent = b.sys; first.append(s); }
      first.append(sw, this.classes.get(b.c).name); first.title = this.classes.get(b.c).name;
      if (b.cells) b.cells.forEach((v, i) => { const td = tr.insertCell(); td.textContent = v; if (i === 0 && b.weak) { td.style.color = this.theme.errors[0]; td.title = "below the chosen IoU: not found"; } });
      else {
        const td = tr.insertCell(); td.colSpan = 4; td.className = "err";
        if (b.err !== undefined) { const i = document.createElement("i"); i.textContent = ["○", "✕", "◆"][b.err]; i.style.color = this.theme.errors[b.err]; td.append(i); }
        td.append(b.text); td.title = b.text; td.style.textAlign = "left"; td.style.paddingLeft = "10px";
      }
    }
    box.replaceChildren(table);
  }
  firstEvent(e) { let lo = 0, hi = e.frame.length; while (lo < hi) { const m = (lo + hi) >> 1; if (e.frame[m] < this.frame) lo = m + 1; else hi = m; } return lo; }

  showScores() {
    if (!this.scene) return;
    const box = this.ref.scores, h = this.scene.header, systems = ["A", "B"].filter((t) => h.systems[t]);
    const key = JSON.stringify([this.status, systems, Object.keys(this.matches), this.scene.id]);
    if (key === this.scoreKey) return; this.scoreKey = key;
    const empty = (text) => { const d = document.createElement("div"); d.className = "empty"; d.textContent = text; return d; };
    if (!systems.length || !h.has.labels) { box.replaceChildren(empty(!h.has.labels ? "Scores need labels of this recording." : "Choose a prediction set to see its scores.")); return; }
    const out = [];
    const table = document.createElement("table"), head = table.createTHead().insertRow(), tb = table.createTBody();
    for (const t of ["", "mAP", "AP25", "AP50", "AP75", "r"]) { const th = document.createElement("th"); th.textContent = t; head.append(th); }
    for (const t of systems) {
      const m = this.matches[t], st = this.status[t] || {};
      if (!m) {
        if (st.state === "error") { out.push(empty(`${t}: ${st.text}`)); continue; }
        const d = empty(`${systems.length > 1 ? t + ": " : ""}${st.text || "Matching labels and predictions"} …`);
        const bar = document.createElement("div"); bar.className = "bar"; const i = document.createElement("i");
        if (st.fraction > 0) i.style.width = st.fraction * 100 + "%"; else i.className = "busy";
        bar.append(i); d.append(bar); out.push(d); continue;
      }
      for (const kind of ["macro", "micro"]) {
        const tr = tb.insertRow(), s = m.header.scores[kind];
        tr.insertCell().textContent = (systems.length > 1 ? t + " " : "") + kind;
        for (const k of ["mAP", "AP25", "AP50", "AP75", "pearson_r"]) tr.insertCell().textContent = s[k] === null || s[k] === undefined ? "–" : s[k].toFixed(k === "pearson_r" ? 3 : 3);
      }
    }
    if (tb.rows.length) out.unshift(table);
    for (const t of systems) { const m = this.matches[t]; if (m && m.header.note) { const d = empty(m.header.note); d.style.fontSize = "11.5px"; out.push(d); break; } }
    box.replaceChildren(...out);
  }

  legendRow() {
    const box = this.ref.legend, th = this.theme, make = (fill, text, tip) => { const s = document.createElement("span"); s.append(fill, text); s.title = tip || ""; return s; };
    const bar = (cls) => { const e = document.createElement("em"); e.className = cls; return e; };
    const icon = (k) => {
      const c = document.createElement("canvas"), d = window.devicePixelRatio || 1; c.width = c.height = 12 * d; c.style.width = c.style.height = "12px";
      const x = c.getContext("2d"); x.scale(d, d); this.timeline.mark(x, k, 6, 6, { ...th }); return c;
    };
    const errors = this.hadBoth ? ERROR_KINDS.map((n) => `${n} (${this.lead})`) : ERROR_KINDS;
    box.replaceChildren(make(bar(""), "label"), make(bar("p"), "prediction"), ...errors.map((n, k) => make(icon(k), n)));
  }
  fillHelp() {
    const box = this.ref.help, h = document.createElement("h3"), dl = document.createElement("dl"); h.textContent = "Keyboard";
    for (const [keys, text] of HELP) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      for (const k of keys.split(" ")) { const kbd = document.createElement("kbd"); kbd.textContent = k; dt.append(kbd); }
      dd.textContent = text; dl.append(dt, dd);
    }
    box.replaceChildren(h, dl);
  }
  note(text) { this.text(this.ref.note, text); this.ref.note.classList.toggle("show", !!text); }
  flash(text) { this.note(text); clearTimeout(this.flashTimer); this.flashTimer = setTimeout(() => this.note(""), 1800); }

  // ---------- the address ----------
  // Whether the address is that of the view on the screen. Between a choice in the bar and its scene it is not.
  get atPlace() {
    const q = new URLSearchParams(location.search);
    return Object.entries(this.place || {}).every(([name, value]) => q.get(name) === value);
  }
  // What the address says of the view; of an address without a frame nothing but what stands there.
  urlState() {
    const q = new URLSearchParams(location.search), f = Number(q.get("frame")), asked = {};
    if (!q.has("frame") && !q.has("view")) return asked;
    if (q.has("frame") && Number.isFinite(f)) asked.frame = Math.max(0, Math.floor(f));
    Object.assign(asked, { view: { x: 180, y: 90, z: 1 }, max: null, isolate: null, loop: null });
    for (const part of (q.get("view") || "").split("_")) {
      const key = part[0], value = part.slice(1), n = Number(value);
      if (key === "x" && isFinite(n)) asked.view.x = ((n % 360) + 360) % 360; else if (key === "y" && isFinite(n)) asked.view.y = Math.min(Math.max(n, 0), 180);
      else if (key === "z" && n >= 1 && n <= 24) asked.view.z = n; else if (key === "p" && /^[a-zA-Z]+$/.test(value)) asked.max = value;
      else if (key === "l" && value in LAYOUTS) asked.layout = value;
      else if (key === "s") { const [t, c, i] = value.split("."); if ("LAB".includes(t) && i !== undefined) asked.isolate = { table: t, category: Number(c), instance: Number(i) }; }
      else if (key === "r") { const [a, b] = value.split(".").map(Number); if (b > a) asked.loop = [a, b]; }
      else if (key === "o" && /^(none|L|A|B|ac\.\w+)$/.test(value)) asked.overlay = value;
    }
    const half = 90 / asked.view.z; asked.view.y = Math.min(Math.max(asked.view.y, half), 180 - half);
    return asked;
  }
  restore(asked) {
    if (!asked.view) return;
    this.view = asked.view; this.max = asked.max; this.isolate = null; this.loop = null; this.loopOn = false;
    if (asked.layout && this.hadBoth) this.layout = asked.layout;
    if (asked.loop && asked.loop[1] <= this.nFrames) { this.loop = asked.loop; this.loopOn = true; }
    if (asked.isolate && this.scene.tables.includes(asked.isolate.table)) this.isolate = asked.isolate;
    if (asked.overlay) this.prefs.overlay = asked.overlay;
  }
  // Back or Forward: to another moment of this view at once; to another view when its scene comes.
  returned() {
    clearTimeout(this.urlTimer); this.urlTimer = 0; this.turn.hold();
    if (!this.scene || !this.atPlace) return;
    this.pause(); clearTimeout(this.urlTimer); this.urlTimer = 0;
    const asked = this.urlState();
    this.restore(asked); this.timeline.dirty = true; this.refreshErrors(); this.syncControls(); this.arrange();
    if (asked.frame !== undefined) this.show(Math.min(asked.frame, this.nFrames - 1));
  }
  flushUrl() { if (this.urlTimer) this.saveUrl(true); }
  saveUrl(now = false) {
    if (this.urlTimer && !now) return;
    clearTimeout(this.urlTimer); this.urlTimer = 0;
    // while it plays, once a second: browsers allow some two hundred changes in half a minute
    if (!now) { this.urlTimer = setTimeout(() => this.saveUrl(true), this.playing ? 1000 : 300); return; }
    if (this.dead || !this.scene || !this.atPlace) return;
    const q = new URL(location.href), v = this.view, parts = [];
    if (v.z > 1 || v.x !== 180) parts.push("x" + v.x.toFixed(1), "y" + v.y.toFixed(1), "z" + v.z.toFixed(2));
    if (this.max) parts.push("p" + this.max);
    if (this.hadBoth) parts.push("l" + this.layout);
    if (this.isolate) parts.push(`s${this.isolate.table}.${this.isolate.category}.${this.isolate.instance}`);
    if (this.loop && this.loopOn) parts.push("r" + this.loop.join("."));
    parts.push("o" + this.overlay);
    q.searchParams.set("frame", this.frame); q.searchParams.set("view", parts.join("_"));
    // no reload, no rerun: the address alone
    if (q.href !== location.href) history.replaceState(history.state, "", q);
  }
}

export default function (component) {
  const { data, parentElement: host } = component;
  let player = host.saiPlayer;
  if (!player || !player.root.isConnected) {
    if (player) player.destroy();
    player = host.saiPlayer = new Player(host);
  }
  player.receive(component, data);
  // Streamlit may call this for a superseded render too: only a host that has left the page is cleaned up
  return () => { if (!host.isConnected && !(host.host && host.host.isConnected)) player.destroy(); };
}
