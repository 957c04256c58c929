// @ts-check
// Which annotations are looked at: rows of a frame, the single source and what it is matched with, errors.

import { valueAt } from "./geometry.js";

/**
 * @typedef {import("./protocol.js").Block} Block
 * @typedef {import("./protocol.js").Patch} Patch
 * @typedef {{frame: Int32Array, kind: Uint8Array, label: Int32Array, prediction: Int32Array}} Events
 */

/** First place in a rising column that is not below a frame. @param {ArrayLike<number>} frames @param {number} frame */
export function firstAt(frames, frame) {
  let low = 0, high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle] < frame) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Rows of a frame. @param {ArrayLike<number>} frames @param {number} frame @returns {number[]} */
export function rowsAt(frames, frame) {
  const rows = [];
  for (let row = firstAt(frames, frame); row < frames.length && frames[row] === frame; row++) rows.push(row);
  return rows;
}

/**
 * The smallest region under a point of the canvas, or null.
 * @param {Block} block @param {number} frame @param {import("./geometry.js").Point} at @param {number} width
 * @param {(patch: Patch) => boolean} accept
 */
export function smallestAt(block, frame, at, width, accept) {
  /** @type {Patch | null} */
  let best = null;
  for (const patch of block.patchesOf(frame)) {
    if (!accept(patch) || !(valueAt(patch, block.values, at, width) > 0)) continue;
    if (!best || patch.w * patch.h < best.w * best.h) best = patch;
  }
  return best;
}

/**
 * Number of the error before or after a frame; -1 when there is none.
 * @param {ArrayLike<number>} frames @param {number} frame @param {number} direction
 */
export function neighbourError(frames, frame, direction) {
  const at = firstAt(frames, direction > 0 ? frame + 1 : frame) - (direction > 0 ? 0 : 1);
  return at >= 0 && at < frames.length ? at : -1;
}

export class Sources {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
  }

  matchPair(system, table, row) {
    const m = this.player.matches[system];
    if (!m) return -1;
    return (table === "L" ? m.byLabel : m.byPrediction).get(row) ?? -1;
  }

  // Rows of a table in a frame.
  rows(table, frame = this.player.frame) {
    const columns = this.player.scene.columns[table];
    return columns ? rowsAt(columns.frame, frame) : [];
  }

  isolateRow(table, row) {
    const c = this.player.scene.columns[table], s = { table, category: c.category[row], instance: c.instance[row] };
    const same =
      this.player.isolate &&
      this.player.isolate.table === table &&
      this.player.isolate.category === s.category &&
      this.player.isolate.instance === s.instance;
    this.setIsolate(same ? null : s);
  }

  setIsolate(source) {
    this.player.isolate = source;
    this.player.controls.syncControls();
    this.player.stage.invalidate(true);
    this.player.saveUrl();
  }

  cycleSource() {
    const all = [];
    for (const t of this.player.scene.tables) {
      if (t === "L" || this.player.shown.includes(t)) for (const r of this.rows(t)) all.push([t, r]);
    }
    if (!all.length) {
      this.player.readout.flash("No source in this frame.");
      return;
    }
    const at = this.player.isolate ? all.findIndex(([t, r]) => this.isIsolated(t, r)) : -1;
    const [t, r] = all[(at + 1) % all.length];
    this.player.isolate = null;
    this.isolateRow(t, r);
  }

  isIsolated(table, row) {
    const s = this.player.isolate, c = this.player.scene.columns[table];
    return !!s && s.table === table && row >= 0 && c.category[row] === s.category && c.instance[row] === s.instance;
  }

  // A prediction below the lowest score is not drawn; official figures count it all the same. Without a score it is.
  scored(table, row) {
    return table === "L" || row < 0 || !(this.player.scene.columns[table].score[row] < Number(this.player.prefs.floor));
  }

  // Rows of a table that the isolated source stands for: itself, and in the other tables what it is matched with.
  accepts(table) {
    if (!this.player.isolate) return (row) => this.scored(table, row);
    const s = this.player.isolate;
    if (s.table === table) return (row) => this.isIsolated(table, row);
    const chosen = new Set();
    for (const row of this.rows(s.table)) {
      if (!this.isIsolated(s.table, row)) continue;
      const system = table === "L" ? s.table : table;
      if (s.table !== "L" && table !== "L") continue; // two systems are linked through the label only
      const pair = this.matchPair(system, s.table, row);
      if (pair >= 0) chosen.add(this.player.matches[system].pairs[table === "L" ? "label" : "prediction"][pair]);
      else if (!this.player.matches[system]) {
        for (const r of this.rows(table)) {
          if (this.player.scene.columns[table].category[r] === s.category) chosen.add(r);
        }
      }
    }
    return (row) => chosen.has(row);
  }

  // The smallest region under a point of the canvas becomes the single source; nothing there: all sources again.
  pick(at) {
    const { player } = this;
    const block = player.scene && player.blockOf(player.frame);
    if (!at || !block) return;
    const best = smallestAt(block, player.frame, at, player.size.width, (q) => this.isShown(q));
    if (best) this.isolateRow(player.scene.tables[best.table], best.row);
    else if (player.isolate) this.setIsolate(null);
  }

  // Whether a patch is of a table on the screen, and an annotation of its own.
  isShown({ table, row }) {
    const { scene, shown } = this.player, key = scene.tables[table];
    return row >= 0 && (key === "L" || shown.includes(key));
  }

  setMatches(system, { header, arrays }) {
    const n = arrays.label.length, byLabel = new Map(), byPrediction = new Map();
    for (let i = 0; i < n; i++) {
      byLabel.set(arrays.label[i], i);
      byPrediction.set(arrays.prediction[i], i);
    }
    this.player.matches[system] = { header, pairs: arrays, byLabel, byPrediction };
    this.refreshErrors();
    this.player.readout.showScores();
    this.player.stage.invalidate(true);
  }

  eventsOf(system) {
    const m = this.player.matches[system];
    if (!m) return null;
    const p = `e${this.player.prefs.threshold}.`, a = m.pairs;
    return { frame: a[`${p}frame`], kind: a[`${p}kind`], label: a[`${p}label`], prediction: a[`${p}prediction`] };
  }

  refreshErrors() {
    if (this.player.theme) this.player.readout.legendRow();
    const e = this.eventsOf(this.player.lead);
    this.player.events = e;
    if (!e) {
      this.player.timeline.setErrors(null, () => 0);
      return;
    }
    const L = this.player.scene.columns.L, P = this.player.scene.columns[this.player.lead];
    this.player.timeline.setErrors(e, (i) => (e.label[i] >= 0 ? L.category[e.label[i]] : P.category[e.prediction[i]]));
  }

  // First error of the frame under the cursor, or where it would be.
  firstEvent(e) {
    return firstAt(e.frame, this.player.frame);
  }
}
