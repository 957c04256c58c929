// @ts-check
// The audio graph of listening in a direction: gains, and filters that the server made. Steering is a change of gains.
//
//   scene (harmonics) ─ weights ─ beam's emphasis ┐           ┌ mono ────────────────────┐
//   single (a source) ────────────────────────────┴─ line ────┴ place ─ filters of ears ─┤
//   scene ─ turn (matrix) ─ filters of ears ─────────────────────────────────────────────┴ output
//
// The plain sound of a recording is not in it: it has a gain of its own, so that one can go over into the other.

import { BEAMS } from "./harmonics.js";

/** What a change takes: nothing clicks, and it is heard at once. */
export const RAMP_S = 0.012;

/** Order of the place of a single line. */
export const PLACE_ORDER = 4;

/**
 * @typedef {object} SoundFacts  From PlayerSound.facts.
 * @property {number} order
 * @property {number} gain  Of the harmonics, to be as loud as the plain sound.
 * @property {number} sourceGain  Of a source alone.
 * @property {Float32Array} ears  Filters of the scene: ear, harmonic, tap.
 * @property {Float32Array} place  The same of order `PLACE_ORDER`.
 * @property {Record<string, Float32Array>} emphasis  By beam, where it has any.
 * @typedef {ArrayLike<number> | null} Numbers
 * @typedef {object} Levels  What is let through, each 0 or 1.
 * @property {number} plain
 * @property {string} beam  Whose gate is open; "" for none.
 * @property {number} single
 * @property {number} mono
 * @property {number} placed
 * @property {number} turned
 */

/**
 * What is let through: the plain sound where what is wished for is not there (yet).
 * @param {{mode: string, ears: boolean, beam: string}} wish @param {{scene: boolean, single: boolean}} there
 * @returns {Levels}
 */
export function levelsOf({ mode, ears, beam }, there) {
  const levels = { plain: 0, beam: "", single: 0, mono: 0, placed: 0, turned: 0 };
  const parted = mode === "solo" || mode === "around";
  if (parted && there.single) levels.single = 1;
  else if (mode === "point" && there.scene) levels.beam = beam;
  else if (mode === "all" && ears && there.scene) return { ...levels, turned: 1 };
  else return { ...levels, plain: 1 };
  // everything but a source is one line without a direction
  if (ears && mode !== "around") levels.placed = 1;
  else levels.mono = 1;
  return levels;
}

/** Where parameters are going. @type {WeakMap<AudioParam, number>} */
const targets = new WeakMap();

/** Go over to a value. @param {AudioParam} param @param {number} value @param {number} when */
export function glide(param, value, when) {
  if (targets.get(param) === value) return;
  targets.set(param, value);
  param.setTargetAtTime(value, when, RAMP_S / 4);
}

/** @param {BaseAudioContext} context @param {number} value */
function gainNode(context, value, channels = 1) {
  const node = context.createGain();
  node.gain.value = value;
  node.channelCount = channels;
  node.channelCountMode = "explicit";
  node.channelInterpretation = "discrete";
  return node;
}

/** @param {BaseAudioContext} context @param {Float32Array[]} channels */
function filterNode(context, channels) {
  const buffer = context.createBuffer(channels.length, channels[0].length, context.sampleRate);
  channels.forEach((taps, k) => buffer.copyToChannel(/** @type {any} */ (taps), k));
  const node = context.createConvolver();
  node.normalize = false;
  node.buffer = buffer;
  return node;
}

/**
 * Filters from harmonics to two ears; gives the inputs, one a harmonic.
 * @param {BaseAudioContext} context @param {Float32Array} filters @param {number} order @param {AudioNode} output
 */
function earInputs(context, filters, order, output) {
  const n = (order + 1) ** 2, taps = filters.length / (2 * n);
  return Array.from({ length: n }, (_, k) => {
    const input = gainNode(context, 1);
    const of = (/** @type {number} */ ear) => filters.subarray((ear * n + k) * taps, (ear * n + k + 1) * taps);
    input.connect(filterNode(context, [of(0), of(1)])).connect(output);
    return input;
  });
}

export class SoundGraph {
  /** @param {BaseAudioContext} context At the recordings' rate. @param {SoundFacts} facts @param {AudioNode} output */
  constructor(context, facts, output) {
    this.context = context;
    this.facts = facts;
    this.output = output;
    const n = (facts.order + 1) ** 2;
    this.scene = gainNode(context, facts.gain, n);
    this.split = context.createChannelSplitter(n);
    this.scene.connect(this.split);
    this.single = gainNode(context, 0);
    this.line = gainNode(context, 1);
    this.single.connect(this.line);
    this.mono = gainNode(context, 0);
    this.line.connect(this.mono).connect(output);
    const sum = gainNode(context, 1);
    this.weights = Array.from({ length: n }, (_, k) => {
      const weight = gainNode(context, 0);
      this.split.connect(weight, k);
      weight.connect(sum);
      return weight;
    });
    /** @type {Record<string, GainNode>} */
    this.gates = {};
    for (const beam of BEAMS) {
      this.gates[beam] = gainNode(context, 0);
      const emphasis = facts.emphasis[beam], gate = sum.connect(this.gates[beam]);
      (emphasis ? gate.connect(filterNode(context, [emphasis])) : gate).connect(this.line);
    }
    /** @type {GainNode[]} */
    this.place = [];
    /** @type {{i: number, j: number, gain: GainNode}[]} */
    this.turn = [];
  }

  // Filters of two ears: some hundred nodes, made when they are first heard.
  buildEars() {
    if (this.place.length) return;
    const { context, facts } = this, { order } = facts;
    this.placed = gainNode(context, 0);
    this.line.connect(this.placed);
    this.place = earInputs(context, facts.place, PLACE_ORDER, this.output).map((input) => {
      const gain = gainNode(context, 0);
      this.placed.connect(gain).connect(input);
      return gain;
    });
    earInputs(context, facts.ears, order, this.output).forEach((input, i) => {
      const l = Math.floor(Math.sqrt(i + 0.5));
      for (let j = l * l; j < (l + 1) ** 2; j++) {
        const gain = gainNode(context, 0);
        this.split.connect(gain, j);
        gain.connect(input);
        this.turn.push({ i, j, gain });
      }
    });
  }

  /**
   * Go over to what is to be heard.
   * @param {Levels} levels
   * @param {{weights: Numbers, place: Numbers, matrix: ArrayLike<number>[] | null}} how
   *   Weights of the beam, harmonics of the line's direction and matrix of the head, each where it is let through.
   */
  set(levels, { weights, place, matrix }, when = this.context.currentTime) {
    if (levels.placed || levels.turned) this.buildEars();
    if (weights) this.weights.forEach((node, k) => glide(node.gain, weights[k] || 0, when));
    for (const beam of BEAMS) glide(this.gates[beam].gain, Number(levels.beam === beam), when);
    glide(this.single.gain, levels.single * this.facts.sourceGain, when);
    glide(this.mono.gain, levels.mono, when);
    if (!this.place.length) return;
    glide(this.placed.gain, levels.placed, when);
    if (place) this.place.forEach((node, k) => glide(node.gain, place[k] || 0, when));
    for (const { i, j, gain } of this.turn) glide(gain.gain, levels.turned && matrix ? matrix[i][j] : 0, when);
  }

  close() {
    for (const node of [this.scene, this.single]) node.disconnect();
    for (const node of [this.mono, this.placed]) if (node) node.disconnect();
  }
}
