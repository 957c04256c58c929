// @ts-check
// Which annotations are looked at: rows of a frame, the single source and what it is matched with, errors.

import { angleBetween, direction, valueAt } from "./geometry.js";

/** A source this near to the pointer is the one that is meant. */
const NEAR_DEG = 25;

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
 * Number of the event that begins before or after a frame; -1 when there is none.
 * @param {ArrayLike<number>} frames @param {number} frame @param {number} by
 */
export function neighbourError(frames, frame, by) {
  const at = firstAt(frames, by > 0 ? frame + 1 : frame) - (by > 0 ? 0 : 1);
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
    this.player.awaited = null;
    this.player.hearing.sourceChanged();
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

  // The source that is meant: what lies under the pointer or near it; without a pointer the next of the frame.
  takeSource() {
    const { player } = this, { cursor, size, scene, frame } = player, block = player.blockOf(frame);
    if (!cursor) {
      this.cycleSource();
      return;
    }
    const under = block && smallestAt(block, frame, cursor, size.width, (q) => this.isShown(q));
    if (under) {
      this.isolateRow(scene.tables[under.table], under.row);
      return;
    }
    const here = direction(cursor, size);
    let nearest = null, least = NEAR_DEG;
    for (const t of scene.tables) {
      if (t !== "L" && !player.shown.includes(t)) continue;
      const { azimuth, elevation } = scene.columns[t];
      for (const row of this.rows(t)) {
        const away = angleBetween(here, { azimuth: azimuth[row], elevation: elevation[row] });
        if (this.scored(t, row) && away < least) {
          least = away;
          nearest = { t, row };
        }
      }
    }
    if (nearest) this.isolateRow(nearest.t, nearest.row);
    else player.readout.flash("No source here: point at one, or click one, and then press again.");
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

  // Errors of a system joined to events.
  joinedOf(system) {
    const m = this.player.matches[system];
    if (!m) return null;
    const p = `j${this.player.prefs.threshold}.`;
    const named = Object.entries(m.pairs).filter(([name]) => name.startsWith(p));
    return Object.fromEntries(named.map(([name, column]) => [name.slice(p.length), column]));
  }

  refreshErrors() {
    if (this.player.theme) this.player.readout.legendRow();
    this.player.eventList.load(/** @type {any} */ (this.joinedOf(this.player.lead)));
  }

  // First error of the frame under the cursor, or where it would be.
  firstEvent(e) {
    return firstAt(e.frame, this.player.frame);
  }
}
