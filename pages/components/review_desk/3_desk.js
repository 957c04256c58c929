// The review desk: state, keys, messages; everything that is text goes in as text, never as HTML.

const KEYS = [
  ["A", "accept the proposal"], ["X", "reject: the label stays"], ["U", "unsure"], ["Del", "remove the label"],
  ["1 … 9 0", "class 0 to 9 (as listed)"], ["T L K", "Water tap, Bell, Knock"], ["D", "distance: type, Enter sets it"], ["P, Shift P", "split at this frame, into parts"],
  ["M", "merge into the chosen instance"], ["G, H", "comment, tags"], ["Z, Y", "undo, redo (also Ctrl)"], ["N", "next item without a decision"],
  ["↓ ↑", "next, previous item"], ["← →", "one frame back, on"], ["Space", "play the event"], ["V B S E Q", "move, box, lasso, brush, erase"],
  ["Shift + arrows", "move the region by 1°"], ["Enter, Esc", "apply, drop what was drawn"], ["F", "changes: event, onwards, this frame"], ["W, O", "energy, outlines of systems"],
];
const CLASS_KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "t", "l", "k"];
const TOOLS = { v: "move", b: "box", s: "lasso", e: "brush", q: "erase" };
const STATUS = { done: "✓ done", unsure: "? unsure", conflict: "≠ conflict", open: "" };

function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) { if (k === "class") e.className = v; else if (k === "style") e.style.cssText = v; else e.setAttribute(k, v); }
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== "")); // strings become text nodes
  return e;
}
const uid = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

class Desk {
  constructor(host) {
    this.root = host.querySelector(".rv"); this.root.desk = this;
    this.ref = {}; for (const e of this.root.querySelectorAll("[data-ref]")) this.ref[e.dataset.ref] = e;
    this.blocks = new Map(); this.pictures = new Map(); this.decoding = new Set(); this.tries = new Map(); this.loaded = new Map(); this.own = new Map(); this.current = null; this.box = null; this.seq = 0; this.sent = 0; this.frame = 0;
    this.tool = "move"; this.shapes = []; this.shift = { az: 0, el: 0 }; this.radius = 5; this.energy = 1; this.showHeat = true; this.showOthers = true;
    this.stats = { keys: [] }; this.turn = new Turn();
    this.pano = new Pano(this, this.ref.panel); this.strips = new Strips(this, this.ref.strips);
    this.undo = [];
    const on = (target, type, fn, capture) => { target.addEventListener(type, fn, capture); this.undo.push(() => target.removeEventListener(type, fn, capture)); };
    on(window, "keydown", (e) => this.key(e));
    // Enter once the field has taken what was typed over, Escape before it keeps the key to itself
    on(window, "keydown", (e) => { if (e.key === "Enter") this.leave(e); });
    on(window, "keydown", (e) => { if (e.key === "Escape") this.leave(e); }, true);
    on(window, "focusout", (e) => this.renamed(e.target));
    on(window, "sai-address", () => this.saveUrl());
    this.root.addEventListener("click", (e) => {
      const b = e.target.closest("[data-act]"), tool = e.target.closest("[data-tool]"), row = e.target.closest("[data-item]"), c = e.target.closest("[data-class]");
      if (b) { this.act(b.dataset.act); if (b.dataset.act !== "help") this.root.focus({ preventScroll: true }); }
      else if (tool) this.setTool(tool.dataset.tool);
      else if (row) { this.root.focus({ preventScroll: true }); if (row.dataset.item !== this.current) this.open(row.dataset.item); }
      else if (c) this.decide("class", { category: Number(c.dataset.class) });
      if (!this.ref.help.hidden && !(b && b.dataset.act === "help") && !e.target.closest(".rv-help")) this.ref.help.hidden = true;
    });
    this.ref.note.addEventListener("click", (e) => { if (!this.question && !e.target.closest("button")) this.say(""); });
    for (const name of ["radius", "energy"]) { this.ref[name].value = this[name]; this.ref[name].addEventListener("input", () => { this[name] = Number(this.ref[name].value); this.tools(); this.paint(); }); }
    this.ref.scope.addEventListener("change", () => this.root.focus({ preventScroll: true }));
    this.ref.comment.addEventListener("keydown", (e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); this.note(); } });
    this.ref.tags.addEventListener("keydown", (e) => { if (e.key === "Enter") this.note(); });
    this.ref.distance.addEventListener("keydown", (e) => { if (e.key === "Enter") { this.act("distance"); this.root.focus({ preventScroll: true }); } });
    const observer = new ResizeObserver(() => this.arrange());
    observer.observe(this.ref.panelBox); observer.observe(this.ref.stripBox); this.undo.push(() => observer.disconnect());
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => setTimeout(() => this.retheme(), 60));
    this.ref.help.append(el("b", {}, "Keys"), el("dl", {}, ...KEYS.flatMap(([k, words]) => [el("dt", {}, el("kbd", {}, k)), el("dd", {}, words)])));
    this.tools();
  }
  destroy() { this.dead = true; this.pause(); for (const fn of this.undo) fn(); this.turn.close(); clearTimeout(this.timer); clearTimeout(this.urlTimer); for (const p of this.pictures.values()) if (p.bitmap) p.bitmap.close(); if (this.audio) this.audio.close(); }

  retheme() {
    const s = getComputedStyle(this.root), get = (n, d) => s.getPropertyValue(n).trim() || d;
    const fg = get("--st-text-color", "#222"), bg = get("--st-background-color", "#fff"), accent = get("--st-primary-color", "#4c8dff");
    const probe = (this.probe ||= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
    const rgb = (c) => { probe.fillStyle = c; probe.fillRect(0, 0, 1, 1); return [...probe.getImageData(0, 0, 1, 1).data]; };
    const f = rgb(fg), b = rgb(bg), a = rgb(accent), mix = (t) => `rgb(${f.slice(0, 3).map((v, i) => Math.round(v * t + b[i] * (1 - t))).join(",")})`;
    const light = (0.2126 * a[0] + 0.7152 * a[1] + 0.0722 * a[2]) / 255;
    this.root.style.setProperty("--on-accent", light > 0.5 ? "#0b0e14" : "#ffffff");
    this.theme = { fg, bg, accent, dim: mix(0.72), line: mix(0.17), faint: mix(0.05), mark: `rgba(${a.slice(0, 3).join(",")},.16)`, panel: get("--st-secondary-background-color", "#eee"), font: get("--st-font", "sans-serif") };
    this.paint();
  }

  // ---------- messages ----------
  get page() { return this.loaded.get(this.current) || null; }
  get moment() { return this.page ? this.page.moment : null; }
  get rows() { return this.page ? this.page.rows : {}; }
  get window() { return this.moment ? this.moment.window : [0, 1]; }
  // Facts of the item on the screen: all of them once they are here, what the list tells before.
  get item() {
    if (!this.current) return null;
    if (this.page) return this.page.facts;
    const row = this.desk && this.desk.rows.find((r) => r.id === this.current);
    return row ? { own: "", tags: [], distance: null, instances: [], views: [], comments: [], link: "", ...row } : null;
  }
  get waiting() { return this.box ? this.box.waiting : []; }
  get reviewer() { return this.renaming || this.desk.reviewer; }
  get after() { return replay(this.desk, this.waiting.filter((a) => a.reviewer === this.reviewer)); }

  receive(api, bytes) {
    this.api = api;
    if (!this.theme) this.retheme();
    if (!bytes || bytes === this.last) return;
    this.last = bytes; this.turn.answered();
    const { header, arrays } = unpack(bytes);
    if (header.ack >= this.sent) this.busySince = 0;
    if (!this.box || this.box.file !== header.file) { this.box = new Outbox(localStorage, header.file); this.box.file = header.file; }
    if (this.renaming === header.reviewer) this.renaming = "";
    this.desk = header; this.classes = header.classes;
    for (const a of this.waiting) if (a.held === "reviewer" && a.reviewer === header.reviewer) a.held = "";
    if (header.lut && !this.lut) this.lut = lutPixels(header.lut);
    this.receiving = true; // one request at the end, once everything is in place
    for (const done of header.done) this.settled(done);
    for (const [id, facts] of Object.entries(header.items)) {
      const moment = arrays[`moment.${id}`];
      this.loaded.delete(id); this.tries.delete(id);
      if (!this.waiting.some((a) => a.item === id)) this.own.delete(id);
      this.loaded.set(id, { facts, ...(moment ? this.load(unpack(moment)) : { moment: null, rows: {} }) });
    }
    // null: the desk knows best, unless it has only just been set up
    const named = header.open === null && !this.begun ? header.shown : header.open;
    this.begun = true;
    if (named !== null && this.still(named) !== this.current) this.open(this.still(named));
    if (this.current in header.items) this.arrived();
    if (header.error) this.say(header.error);
    this.receiving = false;
    this.trim(); this.ask(); this.render(); this.paint(); this.flush();
    this.root.dataset.ready = "1"; this.root.dataset.item = this.current || ""; this.root.dataset.ack = header.ack;
  }
  // An item that the page names, unless a key has decided it meanwhile.
  still(id) {
    const { decided } = this.after;
    return id && LEAVING.includes(this.desk.show) && decided.has(id) ? neighbour(this.desk, decided, id) : id || null;
  }
  // What became of something that was sent.
  settled({ uid: name, item, note, error, held, stamp }) {
    const action = this.box.find(name);
    if (!action) return;
    if (held || error) this.own.delete(action.item);
    if (held) { Object.assign(action, { held, note, stamp }); return; }
    this.box.settle(name);
    const moves = MOVES.includes(action.action);
    if (error) {
      // back to where it was meant for, unless something else has been begun since
      if (!moves && this.current === action.next && !this.waiting.some((a) => a.item === action.next)) {
        this.open(action.item);
        this.shapes = action.shapes || []; if (action.action === "shift") this.shift = { az: action.azimuth_deg, el: action.elevation_deg };
        this.draftChanged(); this.say(error);
      } else this.say(`${this.words(action)}: ${error}`, action.item && action.item !== this.current ? [["Show it", () => this.open(action.item)]] : []);
      return;
    }
    this.told = note || "";
    if (moves && item) this.open(item); else if (moves) this.say(note || "Nothing is left in this list.");
    if (STEPS.includes(action.action) && action.blind && item) this.open(item);
    if (name === this.drawn && this.current === action.item) this.drop();
    if (name === this.commented && this.current === action.item) this.ref.comment.value = "";
  }
  words(action) {
    const f = (this.loaded.get(action.item) || {}).facts || this.desk.rows.find((r) => r.id === action.item);
    return f ? `${f.title}, ${f.class_name}, frames ${f.start} to ${f.end} of ${f.recording}` : "An item";
  }
  // Questions about decisions that were not written, one after the other.
  ask() {
    const action = this.waiting.find((a) => (a.held === "decided" || a.held === "absent") && !a.later);
    if (!action) { if (this.question) { this.question = null; this.say(""); } return; }
    if (this.question === action) return;
    this.question = action;
    const answer = (fn) => () => { fn(); this.question = null; this.say(""); this.ask(); this.render(); this.flush(); };
    const drop = answer(() => this.box.settle(action.uid));
    const buttons = action.held === "decided"
      ? [[`Keep mine: ${action.action}`, answer(() => { action.seen = action.stamp; action.held = ""; this.box.keep(action); })], ["Leave it as it is", drop]]
      : [["Later", answer(() => { action.later = true; })], ["Drop my decision", drop]];
    if (action.held === "decided" && action.item !== this.current) buttons.push(["Show it", () => this.open(action.item)]);
    this.say(`${this.words(action)}: ${action.note}`, buttons);
  }
  load({ header, arrays }) {
    const fields = (t, names) => Object.fromEntries(names.map((n) => [n, arrays[`${t}.${n}`]])), rows = {};
    for (const t of [...header.tables, "W"]) {
      const r = fields(t, ["row", "frame", "category", "instance", "azimuth", "elevation", "energy", "distance", "score"]);
      r.at = new Map(); r.row.forEach((row, k) => r.at.set(row, k));
      if (t === "W") r.target = arrays["W.target"];
      rows[t] = r;
    }
    if (arrays["M.frame"]) rows.M = fields("M", ["frame", "category", "azimuth", "elevation", "distance"]);
    for (const [index, base, work] of header.blocks) for (const [name, part] of [[base, arrays[`base.${index}`]], [work, arrays[`work.${index}`]]]) {
      if (part && !this.blocks.has(name)) this.decode(name, part.slice());
    }
    if (header.spectrogram && arrays.spectrogram) {
      const { bins, columns, name } = header.spectrogram, c = document.createElement("canvas"); c.width = columns; c.height = bins;
      const image = c.getContext("2d").createImageData(columns, bins), out = new Uint32Array(image.data.buffer);
      for (let k = 0; k < columns; k++) for (let i = 0; i < bins; i++) out[(bins - 1 - i) * columns + k] = this.lut[arrays.spectrogram[k * bins + i]];
      c.getContext("2d").putImageData(image, 0, 0); this.blocks.set(name, c);
    }
    return { moment: header, rows };
  }
  // The item on the screen has come, for the first time or anew.
  arrived() {
    if (this.waits) { this.waits = false; this.frame = this.moment ? this.moment.frame : this.item.start; this.fields(); }
    this.clock();
  }
  fields() {
    const i = this.item;
    this.ref.comment.value = ""; this.ref.tags.value = i ? i.tags.join(", ") : "";
    this.ref.distance.value = i && i.distance !== null ? Math.round(i.distance) : "";
  }
  names(page = this.page) { const m = page && page.moment; return m ? [...m.blocks.flatMap(([, b, w]) => (b ? [b, w] : [w])), ...(m.spectrogram ? [m.spectrogram.name] : [])] : []; }
  get spectrogram() { return this.moment && this.moment.spectrogram ? this.blocks.get(this.moment.spectrogram.name) : null; }
  decode(name, bytes) {
    this.decoding.add(name);
    Block.decode(bytes).then((block) => {
      this.decoding.delete(name); if (this.dead) return;
      this.blocks.set(name, block); this.tries.delete(name);
      // the picture of each item that comes next, so that it is there with the key
      for (const page of this.loaded.values()) if (page.moment && page.facts.id !== this.current) this.picture(page, page.moment.frame);
      this.paint();
    }, () => { this.decoding.delete(name); });
  }
  // Items that come next, in their order.
  coming(n = 4) {
    const out = [], { decided } = this.after;
    for (let id = this.current; out.length < n;) { id = neighbour(this.desk, decided, id); if (!id || id === this.current || out.includes(id)) break; out.push(id); }
    return out;
  }
  trim() {
    const near = [...this.coming(), this.current];
    for (const id of this.loaded.keys()) { if (this.loaded.size <= 16) break; if (!near.includes(id)) this.loaded.delete(id); }
    const keep = new Set(near.flatMap((id) => this.names(this.loaded.get(id))));
    for (const name of this.blocks.keys()) { if (this.blocks.size <= 60) break; if (!keep.has(name)) this.blocks.delete(name); }
  }
  // Show an item, at once; what is not here yet follows.
  open(id) {
    this.pause(); this.drop();
    this.current = id || null; this.waits = !this.page; this.refresh = true;
    if (this.page) this.frame = this.moment ? this.moment.frame : this.item.start; else if (this.item) this.frame = this.item.start;
    this.fields(); this.saveUrl(); this.render(); this.paint(); this.flush();
  }
  send(action) {
    const kept = this.box.add({ item: this.current || "", frame: this.frame, reviewer: this.reviewer, ...action }, uid(), Date.now());
    this.flush();
    return kept;
  }
  // One request at a time; what comes meanwhile waits in the outbox, and goes with the next one.
  flush() {
    if (this.dead || !this.api || !this.desk || this.receiving) return;
    if (this.busySince && performance.now() - this.busySince < 15000) return;
    const actions = this.box.ready(this.desk.reviewer).slice(0, 20);
    const tried = (what) => (this.tries.get(what) || 0) >= 4;
    const missing = this.names().some((n) => !this.blocks.has(n) && !this.decoding.has(n) && !tried(n));
    const ahead = this.coming().filter((id) => !this.loaded.has(id) && !tried(id)).slice(0, 2);
    if (!actions.length && !this.refresh && !missing && !ahead.length) return;
    for (const what of [...ahead, ...(missing ? this.names().filter((n) => !this.blocks.has(n)) : [])]) this.tries.set(what, (this.tries.get(what) || 0) + 1);
    this.refresh = false; this.busySince = performance.now(); this.sent = ++this.seq;
    const have = [...this.blocks.keys(), ...this.decoding].slice(-70);
    const request = { seq: this.sent, item: this.current || "", frame: this.page ? this.frame : -1, ahead, have, actions };
    this.turn.take(() => this.api.setStateValue("request", request));
    clearTimeout(this.timer); this.timer = setTimeout(() => { this.busySince = 0; this.flush(); }, 16000);
  }
  decide(action, more = {}) {
    const i = this.item; if (!i) return undefined;
    const { newest } = this.after, row = this.desk.rows.find((r) => r.id === i.id);
    const settles = this.desk.show === "conflict" && ((row || i).status === "conflict");
    const seen = newest.get(i.id) || this.own.get(i.id) || i.stamp || "";
    this.keyAt = performance.now();
    const next = neighbour(this.desk, this.after.decided, i.id), leaves = LEAVING.includes(this.desk.show);
    const kept = this.send({ action, scope: this.ref.scope.value, settles, seen, next, ...more });
    this.own.set(i.id, kept.uid);
    if (next) this.open(next);
    else if (this.desk.total > this.desk.rows.length) this.send({ action: "next" });
    else if (leaves) this.open(null);
    else this.render();
    return kept.uid;
  }
  step(action) {
    const { undo, redo } = this.after, target = (action === "undo" ? undo : redo).pop();
    if (!target) { this.say(`Nothing to ${action}.`); return; }
    const known = this.loaded.has(target.item) || this.desk.rows.some((r) => r.id === target.item);
    const kept = this.send({ action, item: target.item, blind: !known });
    if (!NOTES.includes(target.text)) this.own.set(target.item, kept.uid);
    if (known && target.item !== this.current) this.open(target.item); else this.render();
  }
  move(action) {
    const unresolved = action === "unresolved", to = neighbour(this.desk, this.after.decided, this.current, { unresolved, direction: action === "previous" ? -1 : 1 });
    if (to) this.open(to);
    else if (this.desk.total > this.desk.rows.length) this.send({ action });
    else this.say("Nothing is left in this list.");
  }
  saveUrl() {
    if (this.urlTimer) return;
    this.urlTimer = setTimeout(() => {
      this.urlTimer = 0;
      const q = new URL(location.href), place = (this.desk && this.desk.place) || {};
      if (this.dead || !this.root.isConnected || Object.entries(place).some(([name, value]) => q.searchParams.get(name) !== value)) return;
      if (this.current) q.searchParams.set("item", this.current); else q.searchParams.delete("item");
      if (q.href !== location.href) history.replaceState(history.state, "", q);
    }, 300);
  }

  // ---------- drawing state ----------
  color(c) { return this.classes[c] ? this.classes[c].color : "#8a8f98"; }
  short(c) { return this.classes[c] ? this.classes[c].short : `class ${c}`; }
  entry(page = this.page, frame = this.frame) { const m = page && page.moment; return m && m.blocks.find(([index]) => Math.floor(frame / m.block_frames) === index); }
  block(kind, page = this.page, frame = this.frame) { const e = this.entry(page, frame), b = e && this.blocks.get(kind === "base" ? e[1] : e[2]); return b && frame >= b.start && frame < b.stop ? b : null; }
  targetPatches() {
    const block = this.block("work"), w = this.rows.W; if (!block || !w) return [];
    return block.frames[this.frame - block.start].map((p) => block.patch(p)).filter((patch) => { const k = w.at.get(patch.row); return k !== undefined && w.target[k]; }).map((patch) => ({ block, patch }));
  }
  picture(page = this.page, frame = this.frame) {
    const shown = page === this.page, recording = page ? page.facts.recording : (this.item || {}).recording;
    const last = shown && this.lastPicture && this.lastPicture.recording === recording ? this.lastPicture.bitmap : null;
    const block = this.block("base", page, frame); if (!block) return last;
    const name = `${this.entry(page, frame)[1]}:${frame}`, known = this.pictures.get(name);
    if (known) { if (known.bitmap && shown) this.lastPicture = { bitmap: known.bitmap, recording }; return known.bitmap; }
    const bytes = block.picture(frame); if (!bytes) return null;
    const slot = { bitmap: null }; this.pictures.set(name, slot);
    createImageBitmap(new Blob([bytes], { type: "image/jpeg" })).then((bitmap) => { slot.bitmap = bitmap; this.paint(); }, () => {});
    for (const [key, old] of this.pictures) { if (this.pictures.size <= 50) break; if (old.bitmap && old.bitmap !== (this.lastPicture || {}).bitmap) old.bitmap.close(); this.pictures.delete(key); }
    return last;
  }
  pictureMessage() {
    if (!this.item) return ""; if (!this.block("base") && !(this.moment && this.moment.messages.video)) return "Loading …";
    return (this.moment && this.moment.messages.video) || "No picture here.";
  }
  stroke(points) { return { shape: this.tool, points, radius: this.radius, energy: this.energy }; }
  get dirty() { return this.shapes.length > 0 || this.shift.az !== 0 || this.shift.el !== 0; }
  draftChanged() { this.tools(); this.paint(); }
  drop() { this.shapes = []; this.shift = { az: 0, el: 0 }; this.draftChanged(); }
  setTool(tool) { if (tool !== this.tool) { if (!(["brush", "erase"].includes(tool) && ["brush", "erase"].includes(this.tool))) this.drop(); this.tool = tool; } this.tools(); this.paint(); }
  tools() {
    for (const b of this.root.querySelectorAll("[data-tool]")) { b.classList.toggle("on", b.dataset.tool === this.tool); b.setAttribute("aria-pressed", b.dataset.tool === this.tool); }
    this.ref.brushBox.hidden = !["brush", "erase"].includes(this.tool); this.ref.energyBox.hidden = this.tool !== "brush";
    this.ref.radiusOut.textContent = this.radius + "°"; this.ref.energyOut.textContent = this.energy.toFixed(2);
    this.ref.apply.disabled = this.ref.clear.disabled = !this.dirty;
    this.ref.heat.setAttribute("aria-pressed", this.showHeat); this.ref.others.setAttribute("aria-pressed", this.showOthers);
  }
  apply() {
    if (!this.dirty) return;
    this.drawn = this.shapes.length ? this.decide("redraw", { shapes: this.shapes }) : this.decide("shift", { azimuth_deg: this.shift.az, elevation_deg: this.shift.el });
  }
  nudge(az, elevation) { this.shapes = []; this.shift = { az: this.shift.az + az, el: this.shift.el + elevation }; this.draftChanged(); }

  // ---------- time ----------
  seek(frame, quiet) {
    if (!this.moment) return;
    this.frame = Math.min(Math.max(frame, 0), this.moment.n_frames - 1); this.clock(); this.paint();
    if (!quiet) this.look();
  }
  look() { if (this.moment && !this.entry()) { this.refresh = true; this.flush(); } }
  clock() {
    const s = this.frame / 10, m = Math.floor(s / 60);
    this.ref.clock.textContent = this.item ? `${m}:${(s - m * 60).toFixed(1).padStart(4, "0")} · frame ${this.frame}` : "";
  }
  toggle() { if (this.playing) this.pause(); else this.play(); }
  play() {
    if (!this.item || !this.moment) return;
    const have = this.moment.blocks.map(([, b]) => this.blocks.get(b)).filter(Boolean);
    if (!have.length) return;
    const first = have[0].start, last = have[have.length - 1].stop, from = this.frame >= Math.min(this.item.end + 5, last - 1) ? Math.max(this.item.start - 5, first) : this.frame, to = Math.min(Math.max(this.item.end + 6, from + 10), last);
    this.audio ||= new AudioContext();
    this.audio.resume();
    const n = (to - from) * 2400, buffer = this.audio.createBuffer(1, Math.max(n, 1), 24000), out = buffer.getChannelData(0);
    for (const b of have) if (b.audio) for (let f = Math.max(from, b.start); f < Math.min(to, b.stop); f++) for (let i = 0, j = (f - b.start) * 2400, o = (f - from) * 2400; i < 2400; i++) out[o + i] = (b.audio[j + i] || 0) / 32768;
    const source = this.audio.createBufferSource(); source.buffer = buffer; source.connect(this.audio.destination);
    this.playing = { source, from, to, at: this.audio.currentTime, wall: performance.now() }; source.start();
    const step = () => {
      const p = this.playing; if (!p) return;
      // a machine without a sound device has a clock that stands still
      const seconds = Math.max(this.audio.currentTime - p.at, this.audio.state === "running" ? 0 : (performance.now() - p.wall) / 1000);
      const frame = p.from + Math.floor(seconds * 10);
      if (frame >= p.to) { this.pause(); this.seek(p.to - 1, true); return; }
      if (frame !== this.frame) this.seek(frame, true);
      requestAnimationFrame(step);
    };
    this.ref.play.textContent = "❚❚"; requestAnimationFrame(step);
  }
  pause() { if (this.playing) { try { this.playing.source.stop(); } catch { /* ended by itself */ } } this.playing = null; this.ref.play.textContent = "▶"; }

  // ---------- actions ----------
  act(name) {
    const simple = { accept: 1, reject: 1, unsure: 1, remove: 1 };
    if (name in simple) this.decide(name);
    else if (STEPS.includes(name)) this.step(name);
    else if (MOVES.includes(name)) this.move(name);
    else if (name === "apply") this.apply(); else if (name === "clear") this.drop();
    else if (name === "split") this.decide("split", { at: this.frame, scope: "event" }); else if (name === "splitParts") this.decide("split", { at: "parts" });
    else if (name === "merge") { if (this.ref.instance.value) this.decide("merge", { instance: Number(this.ref.instance.value) }); else this.say("There is no other instance of this class in the recording."); }
    else if (name === "distance") { const v = parseFloat(this.ref.distance.value); if (Number.isFinite(v)) this.decide("distance", { distance_cm: v }); else this.say("Type a distance in centimetres first."); }
    else if (name === "note") this.note();
    else if (name === "play") this.toggle(); else if (name === "back") this.seek(this.frame - 1); else if (name === "forth") this.seek(this.frame + 1);
    else if (name === "layers") { this.showHeat = !this.showHeat; this.draftChanged(); } else if (name === "others") { this.showOthers = !this.showOthers; this.draftChanged(); }
    else if (name === "help") this.ref.help.hidden = !this.ref.help.hidden;
  }
  note() {
    if (!this.item) return;
    const comment = this.ref.comment.value.trim(), tags = this.ref.tags.value.split(",").map((t) => t.trim()).filter(Boolean);
    if (comment) this.commented = this.send({ action: "comment", comment }).uid;
    if (tags.join("\n") !== this.item.tags.join("\n")) this.send({ action: "tag", tags });
    this.root.focus({ preventScroll: true });
  }
  // A field of the page is left by Enter or Escape: what is pressed next is for the item, and not for the field.
  leave(e) {
    const at = e.composedPath()[0];
    if (!this.root.isConnected || !(at instanceof HTMLInputElement) || this.root.contains(at)) return;
    if (at.type === "range" || at.getAttribute("role") === "combobox" || at.closest("[role=dialog], [data-testid=stPopoverBody]")) return;
    at.blur(); this.root.focus({ preventScroll: true }); // not a moment later: the next key may be on its way
  }
  key(e) {
    const path = e.composedPath(), at = path[0];
    if (!this.root.isConnected || e.altKey) return;
    if (at instanceof Element && at.matches("input, textarea, select, [contenteditable=true], [role=combobox], [role=textbox]")) {
      if (e.key === "Escape" && this.root.contains(at)) this.root.focus({ preventScroll: true });
      return;
    }
    if (e.defaultPrevented) return;
    if (path.some((n) => n instanceof Element && n !== this.root && (n.getAttribute("role") === "dialog" || n.getAttribute("data-testid") === "stPopoverBody"))) return;
    const k = e.key.toLowerCase(), done = () => { e.preventDefault(); e.stopPropagation(); };
    if (e.ctrlKey || e.metaKey) { if (k === "z") { done(); this.act(e.shiftKey ? "redo" : "undo"); } else if (k === "y") { done(); this.act("redo"); } return; }
    if (at instanceof Element && at.matches("button, a") && (k === " " || k === "enter")) return;
    if (e.repeat && !k.startsWith("arrow")) return;
    const arrows = { arrowleft: [1, 0], arrowright: [-1, 0], arrowup: [0, 1], arrowdown: [0, -1] };
    if (k in arrows) {
      done();
      if (e.shiftKey) this.nudge(...arrows[k]);
      else if (k === "arrowleft") this.seek(this.frame - 1); else if (k === "arrowright") this.seek(this.frame + 1);
      else this.act(k === "arrowdown" ? "next" : "previous");
      return;
    }
    const plain = { a: "accept", x: "reject", u: "unsure", delete: "remove", z: "undo", y: "redo", n: "unresolved", m: "merge", w: "layers", o: "others", " ": "play", enter: "apply", escape: "clear", "?": "help" };
    const c = CLASS_KEYS.indexOf(k);
    if (k === "p") { done(); this.act(e.shiftKey ? "splitParts" : "split"); }
    else if (k in plain) { done(); if (k === "escape") this.ref.help.hidden = true; this.act(plain[k]); }
    else if (e.shiftKey) return;
    else if (c >= 0) { done(); this.decide("class", { category: c }); }
    else if (k in TOOLS) { done(); this.setTool(TOOLS[k]); }
    else if (k === "d") { done(); this.ref.distance.focus(); this.ref.distance.select(); }
    else if (k === "g") { done(); this.ref.comment.focus(); } else if (k === "h") { done(); this.ref.tags.focus(); }
    else if (k === "f") { done(); const s = this.ref.scope; s.selectedIndex = (s.selectedIndex + 1) % s.options.length; }
  }
  // The reviewer's name was changed: what is decided from now on is theirs, also before the page has taken it over.
  renamed(field) {
    if (!(field instanceof HTMLInputElement) || field.getAttribute("aria-label") !== "Reviewer" || !this.desk) return;
    const name = field.value.trim();
    this.renaming = name && name !== this.desk.reviewer ? name : "";
  }
  say(text, buttons = []) {
    if (this.question && !buttons.length && text) return; // a question stays until it is answered
    this.ref.note.hidden = !text; clearTimeout(this.noteTimer);
    this.ref.note.replaceChildren(text, ...(buttons.length ? [el("div", { class: "line" }, ...buttons.map(([words, fn]) => { const b = el("button", {}, words); b.onclick = () => { fn(); this.root.focus({ preventScroll: true }); }; return b; }))] : []));
    if (text && !buttons.length) this.noteTimer = setTimeout(() => { this.ref.note.hidden = true; }, 9000);
  }

  // ---------- text ----------
  render() {
    if (!this.desk) return;
    const d = this.desk, i = this.item, { decided, undo, redo } = this.after, n = countsWith(d, decided), rows = openRows(d, decided), total = n.open + n.done + n.unsure + n.conflict, share = (v) => `width:${total ? (100 * v) / total : 0}%`;
    this.ref.progress.replaceChildren(
      el("div", {}, el("b", {}, String(n.open)), " left · ", `${n.done + n.unsure} of ${total} decided`, n.conflict ? ` · ${n.conflict} in conflict` : ""),
      el("div", { class: "bar", role: "progressbar", "aria-label": "Decided", "aria-valuemin": "0", "aria-valuemax": String(total), "aria-valuenow": String(n.done + n.unsure) }, el("i", { class: "done", style: share(n.done) }), el("i", { class: "unsure", style: share(n.unsure) }), el("i", { class: "conflict", style: share(n.conflict) })),
    );
    const scroll = this.ref.list.scrollTop;
    this.ref.list.replaceChildren(...rows.map((r) => el("div", { class: "rv-item", role: "option", id: "rv-" + r.id, "data-item": r.id, "aria-selected": String(!!i && r.id === i.id), title: `${r.place}, frames ${r.start} to ${r.end}` },
      el("span", { class: "a" }, el("i", { class: "dot", style: `background:${this.color(r.category)}` }), r.title),
      el("span", { class: "s" }, r.status !== "open" ? el("span", { class: "st " + r.status }, STATUS[r.status]) : el("span", {}, el("span", { class: "meter" }, el("i", { style: `width:${Math.round(100 * r.score)}%` })), r.score.toFixed(2))),
      el("span", { class: "b" }, `${r.class_name} · ${r.recording} · ${r.start}–${r.end}`))));
    this.ref.list.scrollTop = scroll;
    const here = this.ref.list.querySelector("[aria-selected=true]");
    this.ref.list.setAttribute("aria-activedescendant", here ? here.id : "");
    if (here) here.scrollIntoView({ block: "nearest" });
    const listed = d.total - (d.rows.length - rows.length);
    this.ref.more.textContent = d.total > d.rows.length ? `${d.first + 1} to ${d.first + rows.length} of ${listed}` : `${listed} item${listed === 1 ? "" : "s"} in this list`;
    const mine = this.waiting.filter((a) => !MOVES.includes(a.action) && a.reviewer === this.reviewer).length, others = this.waiting.filter((a) => a.reviewer !== this.reviewer);
    this.ref.saved.textContent = [
      mine ? `${mine} not yet saved${this.box.kept ? "" : " and lost if this tab is closed"}.` : d.saved ? `${this.told ? this.told.replace(/\.?$/, ". ") : ""}Saved ${d.saved}.` : `Nothing decided by ${d.reviewer} yet.`,
      others.length ? `${others.length} of ${[...new Set(others.map((a) => a.reviewer))].join(", ")} wait for that name.` : "",
    ].filter(Boolean).join(" ");
    this.ref.saved.title = this.ref.saved.textContent; this.root.dataset.unsaved = mine;
    const last = (steps) => (steps.length ? steps[steps.length - 1].text : "");
    this.ref.undo.disabled = !undo.length; this.ref.redo.disabled = !redo.length; this.ref.undo.title = "Undo (Z)" + (last(undo) && ": " + last(undo)); this.ref.redo.title = "Redo (Y)" + (last(redo) && ": " + last(redo));
    for (const b of this.root.querySelectorAll(".rv-right button:not([data-act=undo]):not([data-act=redo]):not([data-act=help]), .rv-right input, .rv-right textarea, .rv-right select")) b.disabled = !i;
    if (!this.ref.classes.childElementCount) this.ref.classes.append(...this.classes.map((c, k) => el("button", { "data-class": String(k), title: `Make it ${c.name} (${CLASS_KEYS[k].toUpperCase()})` }, el("kbd", {}, CLASS_KEYS[k].toUpperCase()), el("i", { class: "dot", style: `background:${c.color}` }), c.short)));
    if (!i) { this.ref.head.replaceChildren(el("span", { class: "name" }, this.current ? "Loading …" : d.empty)); this.ref.why.replaceChildren(); this.ref.history.replaceChildren(); this.ref.acceptText.textContent = ""; this.clock(); this.ref.legend.textContent = ""; return; }
    this.ref.head.replaceChildren(el("span", { class: "chip kind" }, i.title), el("i", { class: "dot", style: `background:${this.color(i.category)};margin:0` }), el("span", { class: "name" }, i.class_name), el("span", {}, i.place), el("span", { class: "dim" }, `frames ${i.start}–${i.end} · suspicion ${i.score.toFixed(2)}`), ...i.tags.map((t) => el("span", { class: "chip" }, t)), ...(i.simulated ? [el("span", { class: "chip" }, "simulated")] : []));
    this.ref.why.replaceChildren(i.reason + " ", i.link && el("a", { href: i.link, target: "_blank", rel: "noopener" }, "Open in the Explorer"));
    this.ref.acceptText.textContent = i.proposal;
    for (const v of ["accept", "reject", "unsure"]) this.root.querySelector(`[data-act=${v}]`).classList.toggle("is", i.own === v);
    const current = this.targetClass(); for (const b of this.ref.classes.children) b.classList.toggle("on", Number(b.dataset.class) === current);
    this.ref.instance.replaceChildren(...(i.instances.length ? i.instances.map((m) => el("option", { value: String(m.instance) }, `with #${m.instance} (${m.start}–${m.end})`)) : [el("option", { value: "" }, "no other instance")]));
    this.ref.mergeButton.disabled = !i.instances.length;
    this.ref.history.replaceChildren(...(d.show === "conflict" && i.status === "conflict" ? [el("p", {}, el("b", { class: "st conflict" }, "Conflict. "), "What you decide now settles it.")] : []), ...i.views.map((v) => el("p", {}, el("b", {}, v.reviewer + ": "), v.text, el("span", { class: "dim" }, " " + v.time))), ...i.comments.map((c) => el("p", {}, el("b", {}, c.reviewer + ": "), `“${c.comment}”`)));
    if (!i.views.length && !i.comments.length) this.ref.history.append(el("p", { class: "dim" }, "None yet."));
    const names = Object.entries(this.moment ? this.moment.systems : {}).map(([k, v]) => `${k} ${v}`);
    this.ref.legend.textContent = ["solid: label", this.moment && this.moment.version ? "dashed: before your changes" : "", names.length ? "dotted: " + names.join(", ") : "", this.rows.M ? "+ metadata" : ""].filter(Boolean).join(" · ");
    this.ref.legend.title = this.ref.legend.textContent;
    this.clock();
  }
  targetClass() { const w = this.rows.W; if (!w) return -1; for (let k = 0; k < w.frame.length; k++) if (w.target[k]) return w.category[k]; return -1; }
  arrange() {
    const p = this.ref.panelBox.getBoundingClientRect(), s = this.ref.stripBox.getBoundingClientRect();
    if (!p.width || !s.width) return;
    this.pano.resize(p.width, p.height); this.strips.resize(s.width, s.height); this.paint();
  }
  paint() {
    if (this.raf || this.dead) return;
    this.raf = requestAnimationFrame(() => { this.raf = 0; if (this.dead || !this.theme || !this.pano.w || !this.desk) return; this.pano.draw(); this.strips.draw();
      if (this.keyAt && this.block("work") && this.names().every((n) => this.blocks.has(n) || !this.decoding.has(n))) { this.stats.keys.push(performance.now() - this.keyAt); this.keyAt = 0; } });
  }
}

export default function (component) {
  const { data, parentElement: host } = component;
  let desk = host.saiDesk;
  if (!desk || !desk.root.isConnected) { if (desk) desk.destroy(); desk = host.saiDesk = new Desk(host); }
  desk.receive(component, data);
  return () => { if (!host.isConnected && !(host.host && host.host.isConnected)) desk.destroy(); };
}
