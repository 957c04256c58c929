// @ts-check
// What the desk holds of its items: tables, blocks, pictures, of the one on the screen and of those that come next.

import { levelPicture } from "./painting.js";
import { Block } from "./protocol.js";
import { Pictures } from "./store.js";

const COLUMNS = ["row", "frame", "category", "instance", "azimuth", "elevation", "peak", "distance", "score"];
const METADATA = ["frame", "category", "azimuth", "elevation", "distance"];
const MOST_PAGES = 40, MOST_BLOCKS = 140, MOST_PICTURES = 60;

/** @typedef {{facts: any, moment: any, rows: Record<string, any>}} Page  What is known of an item. */

export class Moments {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** Blocks, and level pictures, by name. @type {Map<string, any>} */
    this.blocks = new Map();
    this.pictures = new Pictures(MOST_PICTURES);
    /** @type {Set<string>} */
    this.decoding = new Set();
    /** How often something was asked for in vain. @type {Map<string, number>} */
    this.tries = new Map();
    /** @type {Map<string, Page>} */
    this.loaded = new Map();
    /** @type {{bitmap: any, recording: string} | null} */
    this.last = null;
  }

  /** @param {string} id @param {any} facts @param {import("./protocol.js").Container | null} moment */
  take(id, facts, moment) {
    this.loaded.delete(id);
    this.tries.delete(id);
    this.loaded.set(id, { facts, moment: null, rows: {}, ...(moment ? this.read(moment) : {}) });
  }

  /** @param {import("./protocol.js").Container} message */
  read({ header, arrays }) {
    /** @type {Record<string, any>} */
    const rows = {};
    for (const t of [...header.tables, "W", ...(arrays["P.frame"] ? ["P"] : [])]) {
      const table = Object.fromEntries(COLUMNS.map((name) => [name, arrays[`${t}.${name}`]]));
      table.at = new Map(Array.from(table.row, (row, k) => [row, k]));
      if (t === "W") table.target = arrays["W.target"];
      rows[t] = table;
    }
    if (arrays["M.frame"]) rows.M = Object.fromEntries(METADATA.map((name) => [name, arrays[`M.${name}`]]));
    for (const [index, base, work] of header.blocks) {
      this.decode(base, arrays[`base.${index}`]);
      this.decode(work, arrays[`work.${index}`]);
    }
    for (const [index, name] of header.previews) this.decode(name, arrays[`preview.${index}`]);
    header.still.forEach((name, k) => this.decode(name, arrays[k ? "work.still" : "base.still"]));
    if (header.spectrogram && arrays.spectrogram) {
      const { bins, columns, name } = header.spectrogram;
      this.blocks.set(name, levelPicture(arrays.spectrogram, columns, bins, this.desk.lut));
    }
    return { moment: header, rows };
  }

  /** @param {string} name @param {Uint8Array | undefined} bytes */
  decode(name, bytes) {
    if (!bytes || this.blocks.has(name)) return;
    this.decoding.add(name);
    const done = (/** @type {Block | null} */ block) => {
      this.decoding.delete(name);
      if (!block || this.desk.dead) return;
      this.blocks.set(name, block);
      this.tries.delete(name);
      // the picture of each item that comes next, so that it is there with the key
      for (const page of this.loaded.values()) {
        if (page.moment && page.facts.id !== this.desk.current) this.picture(page, page.moment.frame);
      }
      this.desk.paint();
    };
    Block.decode(bytes.slice()).then(done, () => done(null));
  }

  /** Names of everything that a page is made of. */
  names(page = this.desk.page) {
    const moment = page && page.moment;
    if (!moment) return [];
    const blocks = moment.blocks.flatMap(([, base, work]) => (base ? [base, work] : [work]));
    return moment.spectrogram ? [...blocks, moment.spectrogram.name] : blocks;
  }

  /** Those, and the one frame that is there before them. */
  kept(page) {
    if (!page || !page.moment) return [];
    return [...this.names(page), ...page.moment.still, ...page.moment.previews.map(([, name]) => name)];
  }

  /** What of the item on the screen is not here, and not on its way. */
  missing() {
    const given = (/** @type {string} */ name) => (this.tries.get(name) || 0) >= 4;
    return this.names().filter((name) => !this.blocks.has(name) && !this.decoding.has(name) && !given(name));
  }

  /** @param {string} what */
  asked(what) {
    this.tries.set(what, (this.tries.get(what) || 0) + 1);
  }

  get spectrogram() {
    const { moment } = this.desk;
    return moment && moment.spectrogram ? this.blocks.get(moment.spectrogram.name) : null;
  }

  /** @param {string[]} near Items that must stay. */
  trim(near) {
    for (const id of this.loaded.keys()) {
      if (this.loaded.size <= MOST_PAGES) break;
      if (!near.includes(id)) this.loaded.delete(id);
    }
    const keep = new Set(near.flatMap((id) => this.kept(this.loaded.get(id) || null)));
    for (const name of this.blocks.keys()) {
      if (this.blocks.size <= MOST_BLOCKS) break;
      if (!keep.has(name)) this.blocks.delete(name);
    }
  }

  entry(page = this.desk.page, frame = this.desk.frame) {
    const moment = page && page.moment;
    return moment && moment.blocks.find(([index]) => Math.floor(frame / moment.block_frames) === index);
  }

  /**
   * Block of a frame: `base` as the files have it, `work` with the labels as they stand.
   * `preview` what accepting would fill in.
   * @param {"base" | "work" | "preview"} kind @returns {Block | null}
   */
  block(kind, page = this.desk.page, frame = this.desk.frame) {
    if (kind === "preview") {
      const index = page && page.moment ? Math.floor(frame / page.moment.block_frames) : -1;
      const [, name] = (page && page.moment && page.moment.previews.find(([n]) => n === index)) || [];
      return this.blocks.get(name) || null;
    }
    const entry = this.entry(page, frame), k = kind === "base" ? 0 : 1;
    const holds = (block) => block && frame >= block.start && frame < block.stop;
    const whole = entry && this.blocks.get(entry[1 + k]);
    const still = page && page.moment && this.blocks.get(page.moment.still[k]);
    return holds(whole) ? whole : holds(still) ? still : null;
  }

  /** Whether everything that the frame on the screen shows is there: regions, predictions and picture. */
  drawn() {
    const { desk } = this, { page, frame } = desk, entry = this.entry();
    if (!entry || !this.block("work")) return false;
    if (!entry[1]) return true;
    const base = this.block("base"), name = `${entry[1]}:${frame}`;
    return !!base && (!base.picture(frame) || !!(this.pictures.entries.get(name) || {}).bitmap) && !!page;
  }

  /** Patches of the labels that a decision would change, in the frame on the screen. */
  targets() {
    const block = this.block("work"), rows = this.desk.rows.W;
    if (!block || !rows) return [];
    const isTarget = (/** @type {number} */ row) => rows.at.has(row) && rows.target[rows.at.get(row)];
    return block.patchesOf(this.desk.frame).filter((patch) => isTarget(patch.row)).map((patch) => ({ block, patch }));
  }

  /** Picture of a frame; until it has come the last one of its recording. */
  picture(page = this.desk.page, frame = this.desk.frame) {
    const { desk } = this, shown = page === desk.page;
    const recording = page ? page.facts.recording : (desk.item || {}).recording;
    const last = shown && this.last && this.last.recording === recording ? this.last.bitmap : null;
    const block = this.block("base", page, frame), jpeg = block && block.picture(frame);
    if (!jpeg) return block ? null : last;
    const name = `${this.entry(page, frame)[1]}:${frame}`, held = this.last && this.last.bitmap;
    const bitmap = this.pictures.get(name, jpeg, () => desk.paint(), held);
    if (bitmap && shown) this.last = { bitmap, recording };
    return bitmap || last;
  }
}
