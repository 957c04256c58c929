// @ts-check
// Two ears on the review desk: the scene, or the item's source where it is, turned as one looks.

import { direction } from "./geometry.js";
import { harmonicsOf, rotation, turned } from "./harmonics.js";
import { unpack } from "./protocol.js";
import { PLACE_ORDER, SoundGraph } from "./sound_graph.js";

const KEPT_EARS = "sai-review-ears", MOST_HELD = 12, ASK_AGAIN_MS = 400, MOST_ASKED = 400;
const SINGLE = { plain: 0, beam: "", single: 1, mono: 0, placed: 1, turned: 0 };
const SCENE = { plain: 0, beam: "", single: 0, mono: 0, placed: 0, turned: 1 };

/**
 * Harmonics from one frame to another, out of the windows that hold them; null where one is missing.
 * @param {number} from @param {number} to Frames. @param {number} each Samples of a frame.
 * @param {(frame: number) => import("./hearing.js").Window | undefined} windowAt
 * @returns {Float32Array[] | null}  One array a harmonic.
 */
export function sceneBetween(from, to, each, windowAt) {
  /** @type {Float32Array[]} */
  let out = [];
  for (let frame = from; frame < to; ) {
    const held = windowAt(frame);
    if (!held) return null;
    const { start, stop, scale, channels, samples } = held, length = samples.length / channels;
    if (!out.length) out = Array.from({ length: channels }, () => new Float32Array((to - from) * each));
    const end = Math.min(stop, to), first = (frame - start) * each, n = (end - frame) * each;
    for (let k = 0; k < channels; k++) {
      for (let i = 0; i < n; i++) out[k][(frame - from) * each + i] = (samples[k * length + first + i] * scale) / 32767;
    }
    frame = end;
  }
  return out;
}

export class DeskEars {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.on = false;
    try {
      this.on = sessionStorage.getItem(KEPT_EARS) === "1";
    } catch {
      /* a browser that keeps nothing */
    }
    /** What the sound of each recording is made of, or why there is none. @type {Map<string, any>} */
    this.facts = new Map();
    /** Harmonics by recording and block. @type {Map<string, import("./hearing.js").Window>} */
    this.windows = new Map();
    /** @type {Record<string, number>} */
    this.asked = {};
    /** @type {SoundGraph | null} */
    this.graph = null;
    this.single = false;
    this.timer = undefined;
  }

  get place() {
    return this.desk.item ? this.desk.item.place : "";
  }

  get known() {
    return this.facts.get(this.place) || null;
  }

  /** Why they cannot be had here; "" where they can, or where that is not known yet. */
  get why() {
    return (this.known && this.known.refused) || "";
  }

  choose() {
    this.on = !this.on;
    try {
      sessionStorage.setItem(KEPT_EARS, this.on ? "1" : "");
    } catch {
      /* a browser that keeps nothing */
    }
    if (this.on && this.desk.current) this.desk.rest();
  }

  /** Blocks of the item that have sound. */
  get blocks() {
    const { moment } = this.desk;
    return moment ? moment.blocks.filter(([, base]) => base).map(([index]) => index) : [];
  }

  /** What is missing, for the request. @returns {string[]} */
  wanted() {
    const { desk, place, known } = this, { moment } = desk;
    if (!this.on || !moment || moment.messages.audio || this.why) return [];
    const missing = desk.listening.alone ? [] : this.blocks.filter((k) => !this.windows.has(`${place} ${k}`));
    const names = known ? missing.map((k) => `h.${k}`).slice(0, 2) : ["sound"];
    return names.filter((name) => (this.asked[`${place} ${name}`] || 0) < MOST_ASKED);
  }

  /** @param {string[]} names */
  asking(names) {
    for (const name of names) {
      const key = `${this.place} ${name}`;
      this.asked[key] = (this.asked[key] || 0) + 1;
    }
  }

  /** What the server has sent. @param {any} answer @param {Record<string, any>} arrays */
  take(answer, arrays) {
    if (!answer) return;
    const { place, status } = answer, { state, text } = status.sound || status.h || {};
    if (state === "error") this.facts.set(place, { refused: text });
    for (const name of answer.names) {
      const { header, arrays: held } = unpack(arrays[name]);
      if (name === "sound") {
        const { ears, place: placed } = held;
        // a source alone is as loud as all already
        this.facts.set(place, { ...header, sourceGain: 1, ears, place: placed, emphasis: {} });
        continue;
      }
      const { index, start, stop, scale, harmonics } = header, { samples, covariance } = held;
      this.windows.set(`${place} ${index}`, { start, stop, scale, channels: harmonics, samples, covariance });
    }
    for (const key of this.windows.keys()) {
      if (this.windows.size <= MOST_HELD) break;
      this.windows.delete(key);
    }
    clearTimeout(this.timer);
    if (state === "running") this.timer = setTimeout(() => this.desk.flush(), ASK_AGAIN_MS);
    this.desk.listening.show();
  }

  /** In words; "" where they are off. */
  get words() {
    if (!this.on) return "";
    if (this.why) return `Two ears cannot be had: ${this.why}`;
    return this.wanted().length ? "two ears on their way" : "two ears";
  }

  /**
   * A buffer and where it goes to be heard with two ears; null where something is missing.
   * @param {AudioContext} context @param {number} from @param {number} to @param {number} each
   * @param {AudioBuffer | null} own  The source alone.
   */
  route(context, from, to, each, own) {
    const { known, place, desk } = this;
    if (!this.on || !known || known.refused) return null;
    const at = (/** @type {number} */ frame) =>
      this.windows.get(`${place} ${Math.floor(frame / desk.moment.block_frames)}`);
    const scene = own ? null : sceneBetween(from, to, each, at);
    if (!own && !(scene && scene.length)) return null;
    this.graph = new SoundGraph(context, known, context.destination);
    this.single = !!own;
    this.tick();
    if (own) return { buffer: own, input: this.graph.single };
    const buffer = context.createBuffer(scene.length, scene[0].length, context.sampleRate);
    scene.forEach((samples, k) => buffer.copyToChannel(/** @type {any} */ (samples), k));
    return { buffer, input: this.graph.scene };
  }

  /** Turn what is heard as one looks now. */
  tick() {
    const { graph, desk, single } = this;
    if (!graph) return;
    const { yaw, pitch } = this.head, at = single && desk.regionAt(desk.frame);
    const where = at ? { azimuth: at[0], elevation: at[1] } : { azimuth: yaw, elevation: pitch };
    graph.set(single ? SINGLE : SCENE, {
      weights: null,
      place: single ? harmonicsOf(PLACE_ORDER, turned(where, yaw, pitch)) : null,
      matrix: single ? null : rotation(graph.facts.order, yaw, pitch),
    });
  }

  /** As one looks around, else the middle of the panorama. */
  get head() {
    const { desk } = this, { azimuth, elevation } = direction(desk.view, desk.size);
    return desk.looking ? desk.gaze : { yaw: azimuth, pitch: elevation };
  }

  stop() {
    if (this.graph) this.graph.close();
    this.graph = null;
  }
}
