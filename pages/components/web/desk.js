// @ts-check
// The review desk: its state, what it asks the server for, and what a decision does to the list at once.

import { isAt, readView, replaceAddress } from "./address.js";
import { Drawing } from "./desk_drawing.js";
import { Keys } from "./desk_keys.js";
import { Listening } from "./desk_listening.js";
import { DeskLook } from "./desk_look.js";
import { Moments } from "./desk_moments.js";
import { Panorama } from "./desk_panorama.js";
import { DeskScene } from "./desk_scene.js";
import { Sheet } from "./desk_sheet.js";
import { Strips } from "./desk_strips.js";
import { ahead, settledGaze, writtenGaze } from "./gaze.js";
import { pointOf } from "./geometry.js";
import { gazeAt } from "./look_view.js";
import { lutPixels } from "./painting.js";
import { unpack } from "./protocol.js";
import { coming, LEAVING, LISTS, MOVES, neighbour, NOTES, Outbox, replay, STEPS } from "./review_queue.js";
import { readTheme } from "./theme.js";
import { Turn } from "./turn.js";

const REST_MS = 350;
const KEPT_LOOK = "sai-review-look";
/** Items whose one frame is fetched before their turn: at three keys a second, those of eight seconds. */
const AHEAD = 24;

function uid() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

export class Desk {
  /** @param {HTMLElement} host Element that Streamlit gives the component. */
  constructor(host) {
    /** @type {any} */
    this.root = host.querySelector(".rv");
    this.root.desk = this;
    /** @type {Record<string, any>} */
    this.ref = {};
    for (const e of this.root.querySelectorAll("[data-ref]")) this.ref[e.dataset.ref] = e;
    /** @type {(() => void)[]} */
    this.undo = [];
    this.moments = new Moments(this);
    this.drawing = new Drawing(this);
    this.listening = new Listening(this);
    this.sheet = new Sheet(this);
    this.strips = new Strips(this, this.ref.strips);
    this.turn = new Turn();
    /** @type {Panorama | null} */
    this.pano = null;
    /** The same from inside the sphere. @type {DeskLook | null} */
    this.around = null;
    /** What both lay over the picture. @type {DeskScene | null} */
    this.scene = null;
    this.looking = false;
    this.gaze = ahead();
    /** The item whose region was looked at by itself; "" before the first. @type {string | null} */
    this.aimed = null;
    /** Where it was looked at. @type {import("./gaze.js").Gaze | null} */
    this.aimedAt = null;
    /** What the server said last. @type {any} */
    this.list = null;
    /** @type {Outbox | null} */
    this.box = null;
    /** Line that each of one's own decisions leaves behind, by item. @type {Map<string, string>} */
    this.own = new Map();
    /** Item on the screen. @type {string | null} */
    this.current = null;
    this.frame = 0;
    this.seq = 0;
    this.sent = 0;
    this.busySince = 0;
    /** The item on the screen has not come yet; its facts are to be fetched anew. */
    this.waits = false;
    this.refresh = false;
    /** When the item on the screen was opened: the rest of it is fetched once a reviewer stays with it. */
    this.openedAt = 0;
    this.shownAt = performance.now();
    this.receiving = false;
    this.begun = false;
    this.dead = false;
    this.renaming = "";
    this.outcome = "";
    this.applied = "";
    this.commented = "";
    this.keyAt = 0;
    /** A source that is being added, until its first region is kept. @type {{id: string, category: number} | null} */
    this.draft = null;
    /** @type {import("./review_queue.js").Action | null} */
    this.question = null;
    this.showHeat = true;
    this.showOthers = true;
    this.stats = { keys: [] };
    this.keys = new Keys(this);
    this.bind();
    this.sheet.tools();
  }

  /** @param {EventTarget} target @param {string} type @param {(e: any) => void} fn */
  listen(target, type, fn, capture = false) {
    target.addEventListener(type, fn, capture);
    this.undo.push(() => target.removeEventListener(type, fn, capture));
  }

  bind() {
    const { ref, root } = this;
    this.listen(window, "focusout", (e) => this.renamed(e.target));
    this.listen(window, "sai-address", () => this.saveUrl());
    root.addEventListener("click", (e) => {
      const near = (/** @type {string} */ selector) => e.target.closest(selector);
      const button = near("[data-act]"), tool = near("[data-tool]"), row = near("[data-item]"),
        choice = near("[data-class]");
      if (button) {
        this.act(button.dataset.act);
        if (button.dataset.act !== "help") this.focus();
      } else if (tool) this.drawing.choose(tool.dataset.tool);
      else if (row) {
        this.focus();
        if (row.dataset.item !== this.current) this.open(row.dataset.item);
      } else if (choice) this.decide("class", { category: Number(choice.dataset.class) });
      const helps = (button && button.dataset.act === "help") || near(".rv-help");
      if (!ref.help.hidden && !helps) ref.help.hidden = true;
    });
    ref.note.addEventListener("click", (e) => {
      if (!this.question && !e.target.closest("button")) this.sheet.say("");
    });
    for (const name of ["radius", "energy"]) {
      ref[name].value = this.drawing[name];
      ref[name].addEventListener("input", () => {
        this.drawing[name] = Number(ref[name].value);
        this.drawn();
      });
    }
    ref.scope.addEventListener("change", () => this.focus());
    ref.fill.addEventListener("change", () => {
      this.focus();
      this.sheet.render();
      this.paint();
    });
    ref.comment.addEventListener("keydown", (e) => {
      if (e.key !== "Enter" || !(e.ctrlKey || e.metaKey)) return;
      e.preventDefault();
      this.note();
    });
    ref.tags.addEventListener("keydown", (e) => {
      if (e.key === "Enter") this.note();
    });
    ref.distance.addEventListener("keydown", (e) => {
      if (e.key !== "Enter") return;
      this.act("distance");
      this.focus();
    });
    const observer = new ResizeObserver(() => this.arrange());
    observer.observe(ref.panelBox);
    observer.observe(ref.stripBox);
    this.undo.push(() => observer.disconnect());
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    this.listen(scheme, "change", () => setTimeout(() => this.retheme(), 60));
  }

  destroy() {
    this.dead = true;
    for (const fn of this.undo) fn();
    this.turn.close();
    if (this.around) this.around.close();
    clearTimeout(this.timer);
    clearTimeout(this.urlTimer);
    clearTimeout(this.restTimer);
    this.moments.pictures.clear();
    this.listening.close();
  }

  focus() {
    this.root.focus({ preventScroll: true });
  }

  retheme() {
    this.theme = readTheme(this.root);
    this.root.style.setProperty("--on-accent", this.theme.onAccent);
    this.paint();
  }

  /** The first message says how large the canvas is. @param {any} header */
  prepare(header) {
    this.size = { width: header.canvas[0], height: header.canvas[1] };
    this.fps = header.frame_rate_hz;
    this.view = this.whole;
    this.scene = new DeskScene(this);
    this.pano = new Panorama(this, this.ref.panel);
    this.around = new DeskLook(this, this.ref.look);
    const asked = readView(location.search, [], this.size);
    if (asked && asked.gaze) [this.gaze, this.aimed] = [asked.gaze, ""];
    this.looking = asked && asked.looking !== undefined ? asked.looking : keptLook();
    this.showLook();
    this.arrange();
  }

  // ---------- what is on the screen ----------
  // The camera that shows the whole canvas.
  get whole() {
    return { x: this.size.width / 2, y: this.size.height / 2, z: 1 };
  }

  /** @param {import("./geometry.js").Camera} camera */
  look(camera) {
    this.view = camera;
    this.paint();
  }

  /** @param {Partial<import("./gaze.js").Gaze>} gaze */
  turnTo(gaze) {
    this.gaze = settledGaze({ ...this.gaze, ...gaze });
    this.paint();
    this.saveUrl();
  }

  /** Direction of the item in the frame nearest to one: of what a decision would change, or of what it proposes. */
  regionAt(frame) {
    const w = this.rows.W, { item } = this;
    if (!item) return null;
    let best = -1;
    for (let k = 0; w && k < w.frame.length; k++) {
      if (!w.target[k] || !Number.isFinite(w.azimuth[k])) continue;
      if (best < 0 || Math.abs(w.frame[k] - frame) < Math.abs(w.frame[best] - frame)) best = k;
    }
    return best >= 0 ? [w.azimuth[best], w.elevation[best]] : item.at;
  }

  /** Look at the region of the item. */
  aim() {
    const at = this.regionAt(this.frame);
    if (at) this.turnTo(gazeAt(pointOf(at[0], at[1], this.size), this.size));
    this.aimedAt = this.gaze;
  }

  /** An item is looked at as soon as its regions are here, and when they have changed; not over a turn by hand. */
  aimOnce() {
    if (!this.page || (this.aimed === this.current && this.gaze !== this.aimedAt)) return;
    const given = this.aimed === ""; // the address says where to look
    this.aimed = this.current;
    if (!given) this.aim();
  }

  /** From the panorama into the sphere, and back. */
  lookAround() {
    this.looking = !this.looking;
    try {
      sessionStorage.setItem(KEPT_LOOK, this.looking ? "1" : "");
    } catch {
      /* a browser that keeps nothing */
    }
    this.showLook();
    this.saveUrl();
  }

  showLook() {
    const { ref, looking } = this;
    ref.lookBox.hidden = !looking;
    ref.panel.hidden = looking;
    ref.around.setAttribute("aria-pressed", String(looking));
    if (looking) this.around.open(() => this.paint());
    else this.around.close();
    this.arrange();
  }

  /** Why there is no picture, on a view. @param {CanvasRenderingContext2D} ctx @param {number} top */
  sayPicture(ctx, top) {
    ctx.fillStyle = "#c9ced8";
    ctx.font = `12px ${this.theme.font}`;
    ctx.textAlign = "left";
    ctx.fillText(this.pictureMessage(), 10, top + 18);
  }

  get page() {
    return this.moments.loaded.get(this.current) || null;
  }

  get moment() {
    return this.page ? this.page.moment : null;
  }

  get rows() {
    return this.page ? this.page.rows : {};
  }

  get window() {
    return this.moment ? this.moment.window : [0, 1];
  }

  // Facts of the item on the screen: all of them once they are here, what the list tells before.
  get item() {
    if (!this.current) return null;
    if (this.page) return this.page.facts;
    const row = this.list && this.list.rows.find((r) => r.id === this.current);
    return row ? { own: "", tags: [], distance: null, instances: [], views: [], comments: [], link: "", ...row } : null;
  }

  /** How many frames accepting the item would fill in; null: some, they are not counted yet. */
  get fills() {
    if (!this.ref.fill.checked || !this.page) return 0;
    const { fills } = this.page.facts;
    return fills === null || this.rows.P ? fills : 0;
  }

  get waiting() {
    return this.box ? this.box.waiting : [];
  }

  get reviewer() {
    return this.renaming || this.list.reviewer;
  }

  // What the list and the undo stack are with everything that waits.
  get after() {
    return replay(
      this.list,
      this.waiting.filter((a) => a.reviewer === this.reviewer),
    );
  }

  receive(api, bytes) {
    this.api = api;
    if (!this.theme) this.retheme();
    if (!bytes || bytes === this.last) return;
    this.last = bytes;
    this.turn.answered();
    const { header, arrays } = unpack(bytes);
    if (header.ack >= this.sent) this.busySince = 0;
    if (!this.box || this.box.file !== header.file) this.box = new Outbox(localStorage, header.file);
    if (!this.pano) this.prepare(header);
    if (this.renaming === header.reviewer) this.renaming = "";
    this.list = header;
    this.classes = header.classes;
    for (const a of this.waiting) if (a.held === "reviewer" && a.reviewer === header.reviewer) a.held = "";
    if (header.lut && !this.lut) this.lut = lutPixels(header.lut);
    this.receiving = true; // one request at the end, once everything is in place
    for (const done of header.done) this.settled(done);
    for (const [id, facts] of Object.entries(header.items)) {
      const moment = arrays[`moment.${id}`];
      if (!this.waiting.some((a) => a.item === id)) this.own.delete(id);
      this.moments.take(id, facts, moment ? unpack(moment) : null);
    }
    this.listening.take(header.alone, arrays.alone);
    this.listening.ears.take(header.directions, arrays);
    // what was decided of many items at once, or undone, makes what is held of them out of date
    for (const { id, stamp } of header.rows) {
      if (id in header.items || this.waiting.some((a) => a.item === id)) continue;
      this.own.delete(id);
      const page = this.moments.loaded.get(id);
      if (!page || page.facts.stamp === stamp) continue;
      if (id === this.current) this.refresh = true;
      else this.moments.loaded.delete(id);
    }
    // null: the desk knows best, unless it has only just been set up
    const named = header.open === null && !this.begun ? header.shown : header.open;
    this.begun = true;
    if (named !== null && this.still(named) !== this.current) this.open(this.still(named));
    if (this.current in header.items) this.arrived();
    if (header.error) this.sheet.say(header.error);
    this.receiving = false;
    this.moments.trim([...this.coming, this.current]);
    this.ask();
    this.sheet.render();
    this.paint();
    this.flush();
    this.root.dataset.ready = "1";
    this.root.dataset.item = this.current || "";
    this.root.dataset.ack = header.ack;
  }

  // An item that the page names, unless a key has decided it meanwhile.
  still(id) {
    const { decided } = this.after;
    return id && LEAVING.includes(this.list.show) && decided.has(id) ? neighbour(this.list, decided, id) : id || null;
  }

  // What became of something that was sent.
  settled({ uid: name, item, note, error, held, stamp }) {
    const action = this.box.find(name);
    if (!action) return;
    if (held || error) this.own.delete(action.item);
    if (held) {
      Object.assign(action, { held, note, stamp });
      return;
    }
    this.box.settle(name);
    if (LISTS.includes(action.action)) return;
    const moves = MOVES.includes(action.action);
    if (error) {
      // back to where it was meant for, unless something else has been begun since
      if (!moves && this.current === action.next && !this.waiting.some((a) => a.item === action.next)) {
        this.open(action.item);
        this.drawing.shapes = action.shapes || [];
        if (action.action === "shift") this.drawing.shift = { az: action.azimuth_deg, el: action.elevation_deg };
        this.drawn();
        this.sheet.say(error);
      } else {
        this.sheet.say(
          `${this.words(action)}: ${error}`,
          action.item && action.item !== this.current ? [["Show it", () => this.open(action.item)]] : [],
        );
      }
      return;
    }
    this.outcome = note || "";
    if (moves && item) this.open(item);
    else if (moves) this.sheet.say(note || "Nothing is left in this list.");
    if (STEPS.includes(action.action) && action.blind && item) this.open(item);
    if (name === this.applied && (this.current === action.item || action.action === "source")) this.drawing.drop();
    if (action.action === "source" && item && item !== this.current) this.open(item);
    if (name === this.commented && this.current === action.item) this.ref.comment.value = "";
  }

  words(action) {
    const f = (this.moments.loaded.get(action.item) || {}).facts || this.list.rows.find((r) => r.id === action.item);
    return f ? `${f.title}, ${f.class_name}, frames ${f.start} to ${f.end} of ${f.recording}` : "An item";
  }

  // Questions about decisions that were not written, one after the other.
  ask() {
    const action = this.waiting.find((a) => (a.held === "decided" || a.held === "absent") && !a.later);
    if (!action) {
      if (this.question) {
        this.question = null;
        this.sheet.say("");
      }
      return;
    }
    if (this.question === action) return;
    this.question = action;
    const answer = (fn) => () => {
      fn();
      this.question = null;
      this.sheet.say("");
      this.ask();
      this.sheet.render();
      this.flush();
    };
    const drop = answer(() => this.box.settle(action.uid));
    const buttons =
      action.held === "decided"
        ? [
            [
              `Keep mine: ${action.action}`,
              answer(() => {
                action.seen = action.stamp;
                action.held = "";
                this.box.keep(action);
              }),
            ],
            ["Leave it as it is", drop],
          ]
        : [
            [
              "Later",
              answer(() => {
                action.later = true;
              }),
            ],
            ["Drop my decision", drop],
          ];
    if (action.held === "decided" && action.item !== this.current) {
      buttons.push(["Show it", () => this.open(action.item)]);
    }
    this.sheet.say(`${this.words(action)}: ${action.note}`, buttons);
  }

  // The item on the screen has come, for the first time or anew.
  arrived() {
    if (this.waits) {
      this.waits = false;
      this.frame = this.moment ? this.moment.frame : this.item.start;
      this.sheet.fields();
    }
    this.sheet.clock();
    this.aimOnce();
  }

  // Show an item, at once; what is not here yet follows.
  open(id) {
    this.listening.pause();
    this.draft = null;
    this.drawing.drop();
    this.current = id || null;
    this.waits = this.refresh = !this.page;
    this.openedAt = this.shownAt = performance.now();
    this.listening.show();
    clearTimeout(this.restTimer);
    this.restTimer = setTimeout(() => this.rest(), REST_MS);
    if (this.page) this.frame = this.moment ? this.moment.frame : this.item.start;
    else if (this.item) this.frame = this.item.start;
    this.aimOnce();
    this.sheet.fields();
    this.saveUrl();
    this.sheet.render();
    this.paint();
    this.flush();
  }

  // The reviewer stays with the item: its facts anew, and all that it is made of.
  rest() {
    clearTimeout(this.restTimer);
    this.openedAt = 0;
    this.refresh = true;
    this.listening.asks = this.listening.alone;
    this.flush();
  }

  /** @param {any} action @param {boolean} [later] Another item is opened first, and both leave with one request. */
  send(action, later = false) {
    const kept = this.box.add(
      { item: this.current || "", frame: this.frame, reviewer: this.reviewer, ...action },
      uid(),
      Date.now(),
    );
    if (!later) this.flush();
    return kept;
  }

  // One request at a time; what comes meanwhile waits in the outbox, and goes with the next one.
  flush() {
    if (this.dead || !this.api || !this.list || this.receiving) return;
    if (this.busySince && performance.now() - this.busySince < 15000) return;
    const actions = this.box.ready(this.list.reviewer).slice(0, 20);
    const missing = this.openedAt ? [] : this.moments.missing();
    const tried = (what) => (this.moments.tries.get(what) || 0) >= 4;
    const wanted = this.coming.filter((id) => !this.moments.loaded.has(id) && !tried(id)), soon = wanted.slice(0, 4);
    const alone = this.listening.asks && !this.openedAt && !!this.current;
    const sound = this.openedAt ? [] : this.listening.ears.wanted();
    if (!actions.length && !this.refresh && !missing.length && !soon.length && !alone && !sound.length) return;
    this.listening.ears.asking(sound);
    for (const what of [...soon, ...missing]) this.moments.asked(what);
    const touched = actions.some((a) => a.item === this.current || STEPS.includes(a.action) || a.action === "source");
    const here = !!this.page && !this.refresh && !missing.length && !touched;
    this.refresh = false;
    if (alone) this.listening.asks = false;
    this.busySince = performance.now();
    this.sent = ++this.seq;
    const have = [...this.moments.blocks.keys(), ...this.moments.decoding].slice(-150);
    const request = {
      seq: this.sent,
      item: this.current || "",
      frame: this.page ? this.frame : -1,
      here: Number(here),
      rest: Number(!this.openedAt),
      more: Number(wanted.length > soon.length),
      ahead: soon,
      have,
      by_ear: Number(this.listening.alone),
      alone: Number(alone),
      heard: alone ? this.listening.held : "",
      sound,
      actions,
    };
    this.turn.take(() => this.api.setStateValue("request", request));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.busySince = 0;
      if (alone) this.listening.asks = true; // the answer is lost
      this.flush();
    }, 16000);
  }

  decide(action, more = {}) {
    const i = this.item;
    if (!i) return undefined;
    if (this.draft && action === "class") {
      this.draft.category = more.category;
      this.hint();
      return undefined;
    }
    const { newest } = this.after, row = this.list.rows.find((r) => r.id === i.id);
    const settles = this.list.show === "conflict" && (row || i).status === "conflict";
    const seen = newest.get(i.id) || this.own.get(i.id) || i.stamp || "";
    this.keyAt ||= performance.now();
    const next = neighbour(this.list, this.after.decided, i.id), leaves = LEAVING.includes(this.list.show);
    const seconds = Math.round((performance.now() - this.shownAt) / 10) / 100;
    const how = { seconds, scope: this.ref.scope.value, fill: this.ref.fill.checked, settles, seen, next };
    const kept = this.send({ action, ...how, ...more }, true);
    this.own.set(i.id, kept.uid);
    if (next) this.open(next);
    else if (this.list.total > this.list.rows.length) this.send({ action: "next" });
    else if (leaves) this.open(null);
    else {
      this.sheet.render();
      this.flush();
    }
    return kept.uid;
  }

  step(action) {
    const { undo, redo } = this.after, target = (action === "undo" ? undo : redo).pop();
    if (!target) {
      this.sheet.say(`Nothing to ${action}.`);
      return;
    }
    const known = this.moments.loaded.has(target.item) || this.list.rows.some((r) => r.id === target.item);
    const kept = this.send({ action, item: target.item, blind: !known }, true);
    if (!NOTES.includes(target.text)) this.own.set(target.item, kept.uid);
    if (known && target.item !== this.current) this.open(target.item);
    else {
      this.sheet.render();
      this.flush();
    }
  }

  move(action) {
    const unresolved = action === "unresolved",
      to = neighbour(this.list, this.after.decided, this.current, {
        unresolved,
        direction: action === "previous" ? -1 : 1,
      });
    if (to) this.open(to);
    else if (this.list.total > this.list.rows.length) this.send({ action });
    else this.sheet.say("Nothing is left in this list.");
  }

  // Items that are like this one, or all of them again; where this was is kept.
  like() {
    if (!this.item || this.waiting.some((a) => LISTS.includes(a.action))) return;
    const back = !!this.list.alike;
    this.sheet.say(back ? "Back to the whole list." : "Looking and listening for what is like it …");
    this.send({ action: back ? "unlike" : "like" });
  }

  color(c) {
    return this.classes[c] ? this.classes[c].color : "#8a8f98";
  }

  short(c) {
    return this.classes[c] ? this.classes[c].short : `class ${c}`;
  }

  pictureMessage() {
    if (!this.item) return "";
    if (!this.moments.block("base") && !(this.moment && this.moment.messages.video)) return "Loading …";
    return (this.moment && this.moment.messages.video) || "There is no video here.";
  }

  /** Draw a source that has no label: class by its key, region by a tool, kept by Enter. */
  begin() {
    if (!this.item) return;
    if (this.item.kind !== "source") {
      this.draft = { id: uid().slice(0, 16), category: this.item.category };
    }
    this.drawing.choose("box");
    this.hint();
  }

  hint() {
    const name = this.draft ? this.classes[this.draft.category].name : this.item.class_name;
    this.sheet.say(
      this.draft
        ? `New source, ${name}: its class by key, its region by drawing it in this frame; Enter keeps it, Esc drops it.`
        : `${name}: go to another frame and draw it there; Enter keeps it and fills the frames between.`,
    );
  }

  apply() {
    if (!this.drawing.dirty) return;
    const source = this.draft || (this.item && this.item.kind === "source" ? this.item : null);
    if (source && this.drawing.shapes.length) {
      const { id, category } = source, shapes = this.drawing.asked;
      this.applied = this.send({ action: "source", item: id, base: this.current, category, shapes }).uid;
      this.own.set(id, this.applied);
      this.draft = null;
      return;
    }
    this.applied = this.drawing.shapes.length
      ? this.decide("redraw", { shapes: this.drawing.asked })
      : this.decide("shift", { azimuth_deg: this.drawing.shift.az, elevation_deg: this.drawing.shift.el });
  }

  seek(frame, quiet) {
    if (!this.moment) return;
    this.frame = Math.min(Math.max(frame, 0), this.moment.n_frames - 1);
    this.sheet.clock();
    this.paint();
    if (!quiet) this.reach();
  }

  // Blocks of the frame under the cursor, where they are not here.
  reach() {
    if (this.moment && (this.openedAt || !this.moments.entry())) this.rest();
  }

  act(name) {
    const simple = { accept: 1, reject: 1, unsure: 1, remove: 1 };
    if (name in simple) this.decide(name);
    else if (STEPS.includes(name)) this.step(name);
    else if (MOVES.includes(name)) this.move(name);
    else if (name === "apply") this.apply();
    else if (name === "clear") {
      this.draft = null;
      this.drawing.drop();
    } else if (name === "source") this.begin();
    else if (name === "split") this.decide("split", { at: this.frame, scope: "event" });
    else if (name === "splitParts") this.decide("split", { at: "parts" });
    else if (name === "merge") {
      if (this.ref.instance.value) this.decide("merge", { instance: Number(this.ref.instance.value) });
      else this.sheet.say("There is no other instance of this class in the recording.");
    } else if (name === "distance") {
      const v = parseFloat(this.ref.distance.value);
      if (Number.isFinite(v)) this.decide("distance", { distance_cm: v });
      else this.sheet.say("Type a distance in centimetres first.");
    } else if (name === "like") this.like();
    else if (name === "note") this.note();
    else if (name === "play") this.listening.toggle();
    else if (name === "alone") this.listening.choose();
    else if (name === "ears") this.listening.chooseEars();
    else if (name === "back") this.seek(this.frame - 1);
    else if (name === "forth") this.seek(this.frame + 1);
    else if (name === "layers") {
      this.showHeat = !this.showHeat;
      this.drawn();
    } else if (name === "others") {
      this.showOthers = !this.showOthers;
      this.drawn();
    } else if (name === "around") this.lookAround();
    else if (name === "help") this.ref.help.hidden = !this.ref.help.hidden;
  }

  note() {
    if (!this.item) return;
    const comment = this.ref.comment.value.trim(),
      tags = this.ref.tags.value
        .split(",")
        .map((t) => t.trim())
        .filter(Boolean);
    if (comment) this.commented = this.send({ action: "comment", comment }).uid;
    if (tags.join("\n") !== this.item.tags.join("\n")) this.send({ action: "tag", tags });
    this.focus();
  }

  // The reviewer's name was changed: what is decided from now on is theirs, also before the page has taken it over.
  renamed(field) {
    if (!(field instanceof HTMLInputElement) || field.getAttribute("aria-label") !== "Reviewer" || !this.list) return;
    const name = field.value.trim();
    this.renaming = name && name !== this.list.reviewer ? name : "";
  }

  // Items that come next.
  get coming() {
    return coming(this.list, this.after.decided, this.current, AHEAD);
  }

  saveUrl() {
    if (this.urlTimer) return;
    this.urlTimer = setTimeout(() => {
      this.urlTimer = 0;
      const url = new URL(location.href);
      if (this.dead || !this.root.isConnected || !this.list || !isAt(url.search, this.list.place)) return;
      if (this.current) url.searchParams.set("item", this.current);
      else url.searchParams.delete("item");
      if (this.looking) url.searchParams.set("view", `g${writtenGaze(this.gaze)}_w`);
      else url.searchParams.delete("view");
      replaceAddress(url.href);
    }, 300);
  }

  // What is being drawn has changed.
  drawn() {
    this.sheet.tools();
    this.paint();
  }

  arrange() {
    const p = this.ref.panelBox.getBoundingClientRect(), s = this.ref.stripBox.getBoundingClientRect();
    if (!p.width || !s.width || !this.pano) return;
    this.pano.resize(p.width, p.height);
    this.around.resize(p.width, p.height);
    this.view = this.pano.settle(this.view);
    this.strips.resize(s.width, s.height);
    this.paint();
  }

  paint() {
    if (this.raf || this.dead) return;
    this.raf = requestAnimationFrame(() => {
      this.raf = 0;
      if (this.dead || !this.theme || !this.list || !this.pano.width) return;
      (this.looking ? this.around : this.pano).draw();
      this.strips.draw();
      if (!this.keyAt || !this.moments.drawn()) return;
      this.stats.keys.push(performance.now() - this.keyAt);
      this.keyAt = 0;
    });
  }
}

/** Whether this tab has looked around last. */
function keptLook() {
  try {
    return sessionStorage.getItem(KEPT_LOOK) === "1";
  } catch {
    return false; // a browser that keeps nothing
  }
}

/** @param {any} component What Streamlit hands a component of its second kind. */
export default function mount(component) {
  const { data, parentElement: host } = component;
  let desk = host.saiDesk;
  if (!desk || !desk.root.isConnected) {
    if (desk) desk.destroy();
    desk = host.saiDesk = new Desk(host);
  }
  desk.receive(component, data);
  return () => {
    if (!host.isConnected && !(host.host && host.host.isConnected)) desk.destroy();
  };
}
