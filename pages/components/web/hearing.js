// @ts-check
// What is heard: all directions, where one points, one source, everything but it; with two ears or one line.

import { direction } from "./geometry.js";
import {
  adaptiveWeights, BEAMS, beamWeights, circle, contour, covarianceAround, harmonicsOf, lineOf, rotation, sideOf, turned,
} from "./harmonics.js";
import { Lane, positionAt } from "./playback.js";
import { unpack } from "./protocol.js";
import { glide, levelsOf, PLACE_ORDER, RAMP_S, SoundGraph } from "./sound_graph.js";

/**
 * @typedef {import("./harmonics.js").Direction} Direction
 * @typedef {import("./heard.js").Heard} Heard
 * @typedef {object} Window  Harmonics of a block.
 * @property {number} start @property {number} stop @property {number} scale @property {number} channels
 * @property {Int16Array} samples @property {Float32Array} covariance
 */

const MOST_WINDOWS = 8, MOST_CLIPS = 24;
const SETTLES_MS = 500;
const MARK_DEG = 6; // ring where it is not known, or no matter, how wide is heard

/**
 * Blocks whose sound is wanted, nearest first.
 * @param {number} here @param {number} last @param {boolean} playing @param {number | null} loop
 */
export function soundBlocks(here, last, playing, loop) {
  const blocks = (playing ? [here, here + 1, here + 2] : [here, here + 1]).filter((b) => b >= 0 && b <= last);
  return loop === null || blocks.includes(loop) ? blocks : [...blocks, loop];
}

/** Keep the newest entries of a map. */
function bound(/** @type {Map<any, any>} */ map, /** @type {number} */ most) {
  for (const key of map.keys()) {
    if (map.size <= most) break;
    map.delete(key);
  }
}

/** @param {number} v */
const signed = (v) => `${v > 0 ? "+" : v < 0 ? "−" : ""}${Math.abs(v).toFixed(0)}°`;

export class Hearing {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    this.mode = "all";
    /** Two ears are wished for, in every recording that has them. */
    this.binaural = false;
    /** Why this one has not, once it was said. */
    this.earless = "";
    /** @type {Direction} */
    this.at = { azimuth: 0, elevation: 0 };
    /** The direction does not follow the pointer. */
    this.locked = false;
    /** @type {SoundGraph | null} */
    this.graph = null;
    /** @type {any} */
    this.facts = null;
    /** @type {Map<number, Window>} */
    this.windows = new Map();
    /** Sound of sources by what was asked for. @type {Map<string, any>} */
    this.clips = new Map();
    this.sceneLane = new Lane((frame) => this.windowAt(frame), () => this.graph.scene);
    this.singleLane = new Lane((frame) => this.clipAt(frame), () => this.graph.single);
    player.sound.lanes = [this.sceneLane, this.singleLane];
    /** Weights of frames for a direction. @type {{key: string, weights: Map<number, Float64Array>}} */
    this.adapted = { key: "", weights: new Map() };
    this.fallen = false;
    /** Why this recording's sound has no directions, as the server says it; "" where it has, or was not asked. */
    this.refused = "";
    this.wordsKey = "";
    /** Spectrogram that is wished for. */
    this.wish = { name: "", settled: false };
    this.timer = undefined;
  }

  // ---------- what is wished for ----------
  get beam() {
    return BEAMS.includes(this.player.prefs.beam) ? this.player.prefs.beam : BEAMS[0];
  }

  /** One source alone, or all but one. */
  get parted() {
    return this.mode === "solo" || this.mode === "around";
  }

  get ears() {
    const { scene } = this.player;
    return this.binaural && !this.earless && !!scene && scene.header.has.audio;
  }

  /** Harmonics are needed. */
  get directed() {
    return this.mode === "point" || (this.mode === "all" && this.ears);
  }

  /** Another recording. */
  reset() {
    this.clear();
    this.refused = this.earless = "";
    this.mode = "all";
    this.locked = false;
  }

  /** What came from the server is of no use any longer. */
  clear() {
    this.facts = null;
    this.wish = { name: "", settled: false };
    this.player.timeline.directed = null;
    this.windows.clear();
    this.clips.clear();
    this.adapted = { key: "", weights: new Map() };
    if (this.graph) this.graph.close();
    this.graph = null;
  }

  /** Say why there is no choice of what is heard, where there is none. */
  hindered() {
    const { scene, readout } = this.player, { has, messages } = scene.header;
    const why = has.audio ? this.refused : messages.audio || "This recording has no sound.";
    if (why) readout.flash(why);
    return !!why;
  }

  /** @param {string} mode */
  choose(mode) {
    const { player } = this, { cursor } = player;
    if (mode !== "all" && this.hindered()) return;
    if (mode === "all" && !player.scene.header.has.audio) return;
    if (mode === "point") {
      this.locked = this.mode === "point" && !this.locked;
      if (cursor && !this.locked) this.at = direction(cursor, player.size);
    }
    const parted = mode === "solo" || mode === "around";
    if (parted && !player.isolate) player.sources.takeSource();
    if (parted && !player.isolate) return; // it was said that there is none
    this.mode = mode;
    this.player.awaited = null;
    this.changed();
  }

  nextBeam() {
    const next = BEAMS[(BEAMS.indexOf(this.beam) + 1) % BEAMS.length];
    this.player.controls.setPref("beam", next);
    if (this.mode !== "point") this.player.readout.flash(`Beam: ${next}; it is for “where I point”.`);
  }

  toggleEars() {
    if (this.hindered()) return;
    this.binaural = !this.ears;
    this.earless = "";
    this.changed();
  }

  /** Something else is wished for. */
  changed() {
    this.tick();
    this.show();
    this.player.stage.invalidate();
    this.player.requests.plan();
    this.player.saveUrl();
  }

  /** The single source of the view is another one. */
  sourceChanged() {
    const { context } = this.player.sound;
    if (context) this.singleLane.drop(context.currentTime + RAMP_S);
    if (this.parted && !this.player.isolate) this.mode = "all";
    this.changed();
  }

  /**
   * The pointer is elsewhere.
   * @param {import("./geometry.js").Point | null} at @param {number} [since] Time of the event.
   */
  hover(at, since) {
    if (this.mode !== "point" || this.locked || !at) return;
    this.at = direction(at, this.player.size);
    this.tick();
    this.show();
    if (since !== undefined && this.player.playing && !this.fallen) this.clock(since);
    this.player.saveUrl();
  }

  /** Milliseconds from a movement to nine tenths of its change at the loudspeaker, by the clock of the audio. */
  clock(/** @type {number} */ since) {
    const { context, audible } = this.player.sound, { steer } = this.player.stats;
    const { contextTime, performanceTime } = (audible && context.getOutputTimestamp()) || {};
    if (!performanceTime) return;
    const changed = context.currentTime + (RAMP_S / 4) * Math.LN10;
    steer.push(performanceTime + (changed - contextTime) * 1000 - since);
    if (steer.length > 4000) steer.shift();
  }

  /** A click on a panel holds the direction or lets it go; whether it was meant for that. */
  click(/** @type {import("./geometry.js").Point} */ at) {
    if (this.mode !== "point") return false;
    this.locked = !this.locked;
    this.at = direction(at, this.player.size);
    this.changed();
    return true;
  }

  /** What the address says. @param {Heard | null} heard */
  restore(heard) {
    this.mode = heard ? heard.mode : "all";
    this.binaural = !!heard && heard.ears;
    this.earless = this.refused;
    if (heard && heard.mode === "point") {
      this.at = { azimuth: heard.azimuth, elevation: heard.elevation };
      this.player.prefs.beam = heard.beam;
      this.locked = true;
    }
    const { has } = this.player.scene.header;
    if (!has.audio || this.refused || (this.parted && !this.player.isolate)) this.mode = "all";
    this.tick();
    this.show();
  }

  /** @returns {Heard} */
  get heard() {
    return { mode: this.mode, ...this.at, beam: this.beam, ears: this.ears };
  }

  // ---------- what the server makes ----------
  /** The server has answered: what it cannot make is not wished for any longer, and it is said why. */
  answered() {
    const { status, readout } = this.player, { text, state } = status.sound || {};
    if (state === "error") this.refused = text;
    const { failure } = this;
    if (!failure || (this.mode === "all" && !this.ears)) return;
    this.mode = "all";
    if (this.refused || (status.h || {}).state === "error") this.earless = failure;
    readout.flash(failure);
    this.changed();
  }

  /** Why what is wished for cannot be made. */
  get failure() {
    const { status, isolate } = this.player;
    const names = ["h", ...(this.parted && isolate ? [`${this.mode}.${isolate.table}`] : [])];
    const failed = names.map((name) => status[name] || {}).find(({ state }) => state === "error");
    return this.refused || (failed ? failed.text : "");
  }

  /** What is missing, for the requests. @param {number} here @param {number} last @returns {string[]} */
  wanted(here, last) {
    const { player } = this, { status, requests } = player;
    const failed = (/** @type {string} */ name) => (status[name] || {}).state === "error";
    if ((this.mode === "all" && !this.ears && player.ref.hearMenu.hidden) || !player.scene.header.has.audio) return [];
    if (this.refused) return [];
    if (!this.facts) return ["sound"];
    const sound = this.soundWanted(here, last), { name, settled } = this.wish, { directed } = player.timeline;
    const there = (directed && directed.heard === name) || failed(name.split(".").slice(0, 2).join("."));
    return name && settled && !there && !(requests.extras[name] > 400) ? [...sound, name] : sound;
  }

  /** @param {number} here @param {number} last @returns {string[]} */
  soundWanted(here, last) {
    const { player } = this, { isolate, status, requests } = player;
    const failed = (/** @type {string} */ name) => (status[name] || {}).state === "error";
    const loop = player.loopOn && player.loop ? player.blockAt(player.loop[0]) : null;
    const blocks = soundBlocks(here, last, player.playing, loop);
    if (this.directed && !failed("h")) {
      return blocks.filter((b) => !this.windows.has(b)).map((b) => `h.${b}`)
        .filter((name) => !(requests.extras[name] > 8)).slice(0, 2);
    }
    if (!this.parted || !isolate || failed(`${this.mode}.${isolate.table}`)) return [];
    return blocks.map((b) => this.clipName(b)).filter((name) => !this.clips.has(name)).slice(0, 2);
  }

  /** @param {number} block */
  clipName(block) {
    const { table, category, instance } = this.player.isolate;
    return [this.mode, table, category, instance, block].join(".");
  }

  /** Take in what came; whether it is of this room. @param {string} name @param {Uint8Array} data */
  take(name, data) {
    const [kind] = name.split(".");
    if (kind === "sound") {
      const { header, arrays } = unpack(data), { ears, place, ...rest } = arrays;
      const emphasis = Object.fromEntries(Object.entries(rest).map(([key, taps]) => [key.slice(9), taps]));
      this.facts = { ...header, sourceGain: header.source_gain, ears, place, emphasis };
    } else if (kind === "h") {
      const { header, arrays } = unpack(data), { start, stop, scale, harmonics } = header;
      const { samples, covariance } = arrays;
      this.windows.set(header.index, { start, stop, scale, channels: harmonics, samples, covariance });
      bound(this.windows, MOST_WINDOWS);
    } else if (kind === "solo" || kind === "around") {
      const { header, arrays } = unpack(data);
      this.clips.set(name, { ...header, samples: arrays.samples });
      bound(this.clips, MOST_CLIPS);
    } else if (kind === "spec") this.player.setSpectrogram(unpack(data), name);
    else return false;
    this.player.sound.pump();
    this.tick();
    return true;
  }

  /** @param {number} frame */
  windowAt(frame) {
    return this.directed && this.facts && this.openGraph() ? this.windows.get(this.player.blockAt(frame)) : null;
  }

  /** @param {number} frame */
  clipAt(frame) {
    if (!this.parted || !this.player.isolate || !this.facts || !this.openGraph()) return null;
    return this.clips.get(this.clipName(this.player.blockAt(frame)));
  }

  openGraph() {
    const { sound } = this.player;
    if (!this.graph && sound.context) this.graph = new SoundGraph(sound.context, this.facts, sound.gain);
    return this.graph;
  }

  /** Spectrogram that goes with what is heard, as it is asked for; "" where it is that of all directions. */
  get spectrogramName() {
    const { isolate } = this.player;
    if (this.mode === "point" && this.locked) {
      return ["spec.point", this.beam, Math.round(this.at.azimuth), Math.round(this.at.elevation)].join(".");
    }
    if (!this.parted || !isolate) return "";
    return [`spec.${this.mode}`, isolate.table, isolate.category, isolate.instance].join(".");
  }

  /** What the timeline's spectrogram is of: words ("" for all directions), and whether it is that already. */
  get spectrogram() {
    const name = this.spectrogramName, { timeline, status } = this.player;
    if (!name) return { title: "", ready: false };
    if (timeline.directed && timeline.directed.heard === name) return { title: this.place, ready: true };
    const { state, fraction } = status[name.split(".").slice(0, 2).join(".")] || {};
    const share = fraction > 0 ? ` ${Math.round(fraction * 100)} %` : "";
    return { title: state === "error" ? "All directions" : `All directions; ${this.place}${share} …`, ready: false };
  }

  /** A direction that is held for a moment is worth its spectrogram. */
  settle() {
    const name = this.spectrogramName;
    if (name === this.wish.name) return;
    this.wish = { name, settled: false };
    this.player.timeline.dirty = true;
    clearTimeout(this.timer);
    if (!name) return;
    this.timer = setTimeout(() => {
      this.wish.settled = true;
      this.player.requests.plan();
    }, SETTLES_MS);
  }

  // ---------- what is heard now ----------
  /** Bring the gains to what is wished for; called with every frame of the screen, and when something changes. */
  tick() {
    const { player } = this, { sound } = player, { context } = sound;
    if (!context || !sound.plain) return;
    const now = context.currentTime;
    const there = { scene: this.sceneLane.sounds(now), single: this.singleLane.sounds(now) };
    const levels = levelsOf({ mode: this.mode, ears: this.ears, beam: this.beam }, there);
    glide(sound.plain.gain, levels.plain, now);
    const fallen = !!levels.plain && (this.parted || this.directed);
    if (fallen !== this.fallen) {
      this.fallen = fallen;
      this.show();
    }
    if (!this.graph) return;
    const { yaw, pitch } = levels.placed || levels.turned ? this.head : { yaw: 0, pitch: 0 }, { order } = this.facts;
    this.graph.set(levels, {
      weights: levels.beam ? this.weights(positionAt(now, sound.from)) : null,
      place: levels.placed ? harmonicsOf(PLACE_ORDER, turned(this.where, yaw, pitch)) : null,
      matrix: levels.turned ? rotation(order, yaw, pitch) : null,
    }, now);
  }

  /** Weights at a position in frames, where those of a frame stand at its middle. @param {number} position */
  weights(position) {
    if (this.beam !== "adaptive") return beamWeights(this.beam, this.facts.order, this.at);
    const window = this.windows.get(this.player.blockAt(Math.floor(position)));
    if (!window) return beamWeights("hypercardioid", 1, this.at);
    const key = `${this.at.azimuth},${this.at.elevation}`;
    if (this.adapted.key !== key) this.adapted = { key, weights: new Map() };
    const first = Math.floor(position - 0.5), share = position - 0.5 - first;
    const [a, b] = [first, first + 1].map((frame) => {
      const known = this.adapted.weights.get(frame);
      if (known) return known;
      const near = this.windows.get(this.player.blockAt(frame)) || window, { around } = this.facts;
      const inside = Math.min(Math.max(frame, near.start), near.stop - 1);
      const covariance = covarianceAround(near.covariance, near.start - around, inside, around);
      const weights = adaptiveWeights(covariance, this.at);
      this.adapted.weights.set(frame, weights);
      bound(this.adapted.weights, 64);
      return weights;
    });
    return a.map((w, k) => w * (1 - share) + b[k] * share);
  }

  /** Where the head looks: as the view does, else the middle of the panels. */
  get head() {
    const { gaze, turned: given, lookOn, view, size } = this.player;
    if (given || lookOn) return gaze;
    const { azimuth, elevation } = direction(view, size);
    return { yaw: azimuth, pitch: elevation };
  }

  /** Direction of what is heard by itself. */
  get where() {
    return this.parted ? this.sourceAt(this.player.frame) || this.at : this.at;
  }

  /** Direction of the single source in a frame, or in the nearest in which it is. @param {number} frame */
  sourceAt(frame) {
    const { isolate, scene } = this.player;
    const columns = isolate && scene && scene.columns[isolate.table];
    if (!columns) return null;
    let best = -1;
    for (let k = 0; k < columns.frame.length; k++) {
      const own = columns.category[k] === isolate.category && columns.instance[k] === isolate.instance;
      if (!own || !Number.isFinite(columns.azimuth[k])) continue;
      if (best < 0 || Math.abs(columns.frame[k] - frame) < Math.abs(columns.frame[best] - frame)) best = k;
      else if (columns.frame[k] > frame) break;
    }
    return best < 0 ? null : { azimuth: columns.azimuth[best], elevation: columns.elevation[best] };
  }

  // ---------- what is shown ----------
  /** Line around the direction heard, -3 dB wide, or a mark at the source; null where all directions are heard. */
  ring() {
    const { player } = this;
    if (this.mode === "all" || !player.scene || this.failure) return null;
    const { where } = this;
    const wide = this.mode === "point" && !!this.facts; // how wide, the server says
    let around = circle(where, MARK_DEG);
    if (wide) {
      if (this.beam === "adaptive") around = contour(this.weights(player.frame + 0.5), where);
      else around = circle(where, this.facts.beams[this.beam]);
    }
    const ring = lineOf(around, player.size);
    const side = wide ? sideOf(ring, where, player.size) : "";
    return { ...ring, at: where, dashed: this.mode === "around", side };
  }

  /** The direction or source in words. */
  get place() {
    const { isolate, classes } = this.player;
    if (this.mode === "point") return `${signed(this.at.azimuth)} ${signed(this.at.elevation)}, ${this.beam}`;
    const { name } = (isolate && classes.get(isolate.category)) || { name: "source" };
    return this.mode === "solo" ? `${name} alone` : `All but ${name}`;
  }

  /** What is heard in words. */
  get words() {
    const { player } = this, { isolate } = player;
    if (this.refused) {
      const [, kind] = / is (mono|stereo|shorter)\b/.exec(this.refused) || [];
      const short = { mono: "Mono", stereo: "Stereo", shorter: "Too short" }[kind];
      return short ? `${short}: all directions` : "All directions only";
    }
    const ears = this.ears && this.mode !== "around" ? ", two ears" : "";
    if (this.mode === "point") {
      return `${signed(this.at.azimuth)} ${signed(this.at.elevation)}${this.locked ? " held" : ""}${ears}`;
    }
    if (!this.parted || !isolate) return ears ? "All, two ears" : "All directions";
    const { short } = player.classes.get(isolate.category) || { short: "source" };
    return this.mode === "solo" ? `${short} alone${ears}` : `All but ${short}`;
  }

  /** Why something else is heard than is wished for. */
  get state() {
    const { playing, scene } = this.player;
    if (!scene.header.has.audio) return scene.header.messages.audio;
    const { failure } = this, { awaited } = this.player, later = awaited && awaited.heard ? awaited.heard.mode : "";
    if (failure) return `${failure} All directions are heard.`;
    if (later === "solo" || later === "around") {
      return "The source is still being read; all directions are heard until then.";
    }
    if (this.ears && this.mode === "around") return "Everything but a source has no directions: the same on both ears.";
    return playing && this.fallen ? "On its way; all directions are heard until then." : "";
  }

  /** Bring button and menu up to date. */
  show() {
    const { player } = this, { ref } = player;
    if (!player.scene) return;
    this.settle();
    const { words, state } = this, why = this.facts ? [this.facts.why, ...this.facts.notes].join(" ") : "";
    const key = [words, state, why, this.mode, this.beam, this.ears, player.isolate ? 1 : 0].join("|");
    if (key === this.wordsKey) return;
    this.wordsKey = key;
    ref.heard.textContent = words;
    ref.hear.title = ["What is heard", words, state].filter(Boolean).join(". ").replace(". ", ": ");
    ref.hear.classList.toggle("on", this.mode !== "all" || this.ears);
    ref.hear.classList.toggle("late", !!state);
    ref.hearNote.textContent = state || why;
    ref.hearNote.hidden = !ref.hearNote.textContent;
    for (const button of ref.hearMenu.querySelectorAll("[data-act=listen]")) {
      button.setAttribute("aria-checked", String(button.dataset.v === this.mode));
    }
    ref.hearMenu.querySelector("[data-act=ears]").setAttribute("aria-checked", String(this.ears));
    ref.hearMenu.querySelector("[data-pref=beam]").value = this.beam;
    ref.hear.disabled = !player.scene.header.has.audio;
  }

  /** @param {boolean} open */
  openMenu(open) {
    const { ref, requests } = this.player;
    ref.hearMenu.hidden = !open;
    ref.hear.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.show();
    requests.plan();
  }
}
