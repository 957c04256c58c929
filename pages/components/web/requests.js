// @ts-check
// What the player asks the server for, and takes in.

import { Block, inflate, unpack } from "./protocol.js";
import { Turn } from "./turn.js";

/**
 * Blocks around the cursor's, nearest first, and that in which a loop begins.
 * @param {number} here @param {number} last @param {{playing: boolean, loop: number | null}} state
 */
export function wantedBlocks(here, last, { playing, loop }) {
  const order = playing ? [0, 1, 2, 3, 4] : [0, 1, -1, 2, -2, 3, -3];
  const blocks = order.map((d) => here + d).filter((b) => b >= 0 && b <= last);
  if (loop !== null && !blocks.includes(loop)) blocks.push(loop);
  return blocks;
}

/** Name of the calculation behind something that was asked for. @param {string} want */
export function jobOf(want) {
  return want.startsWith("matches.") ? want.slice(8) : want.split(".").slice(0, 2).join(".");
}

export class Requests {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    this.turn = new Turn();
    /** @type {{setStateValue: (name: string, value: unknown) => void} | null} */
    this.api = null;
    this.seq = 0;
    /** @type {{seq: number, blocks: number[], at: number} | null} */
    this.pending = null;
    /** How often each extra was asked for. @type {Record<string, number>} */
    this.extras = {};
    /** @type {Set<number | string>} */
    this.decoding = new Set();
    this.timer = undefined;
  }

  // What is missing around the cursor, nearest first; one request at a time unless the cursor's block is missing.
  plan() {
    if (!this.player.scene && this.pending) return;
    if (!this.api) return;
    const { player } = this, { scene, store } = player;
    const open = (b) => !store.has(b) && !this.decoding.has(b);
    const blocks =
      scene && player.nFrames
        ? wantedBlocks(player.blockAt(player.frame), player.blockAt(player.nFrames - 1), {
            playing: player.playing,
            loop: player.loopOn && player.loop ? player.blockAt(player.loop[0]) : null,
          }).filter(open)
        : [];
    const want = scene && player.nFrames ? this.extrasWanted(player.blockAt(player.frame)) : [];
    const hereMissing = blocks[0] === this.player.blockAt(this.player.frame);
    if (this.pending) {
      const stale = performance.now() - this.pending.at > 12000;
      if (!stale && !(hereMissing && !this.pending.blocks.includes(blocks[0]))) return;
    }
    if (this.player.scene && !blocks.length && !want.length) return;
    const running =
      want.length &&
      !blocks.length &&
      want.every((w) => w === "lattice_index" || (player.status[jobOf(w)] || {}).state === "running");
    clearTimeout(this.timer);
    // nothing but a running calculation to wait for: ask again in a moment
    if (running) {
      this.timer = setTimeout(() => this.send([], want), 700);
      return;
    }
    // the first picture first: its frame alone, where the block is not at hand; extras come with a later request
    const alone = !player.playing && store.stillOf !== blocks[0];
    if (hereMissing) this.send(blocks.slice(0, 1), alone ? [`frame.${player.frame}`] : []);
    else this.send(blocks.slice(0, 2), want);
  }

  // What is wanted beside blocks, and not known to be impossible.
  extrasWanted(here) {
    const { player } = this, { scene, status, store } = player, want = [];
    const failed = (name) => (status[name] || {}).state === "error";
    const { has } = scene.header;
    want.push(...player.hearing.wanted(here, player.blockAt(player.nFrames - 1)));
    if (has.audio && !player.timeline.spectrogram && !(this.extras.spectrogram > 3)) want.push("spectrogram");
    for (const t of player.systemKeys) {
      const both = scene.tables.includes(t) && scene.tables.includes("L");
      if (both && !player.matches[t] && !failed(t)) want.push(`matches.${t}`);
    }
    for (const t of scene.header.reading) want.push(`table.${t}`);
    const kinds = player.acousticKinds.filter((kind) => !failed(`ac.${kind}`));
    const last = player.blockAt(player.nFrames - 1);
    const empty = (kind) => (status[`ac.${kind}`] || {}).frames === 0;
    if (kinds.some((kind) => !empty(kind)) && !player.latticeIndex) want.push("lattice_index");
    for (const d of [0, 1, -1, 2]) {
      for (const kind of kinds) {
        const { frames = player.nFrames } = status[`ac.${kind}`] || {}, from = (here + d) * player.blockFrames;
        const name = `ac.${kind}.${here + d}`, inside = here + d >= 0 && here + d <= last && from < frames;
        if (inside && !store.lattices.has(name) && !this.decoding.has(name) && !(this.extras[name] > 400)) {
          want.push(name);
        }
      }
    }
    return want;
  }

  send(blocks, want) {
    if (this.player.dead) return;
    for (const w of want) this.extras[w] = (this.extras[w] || 0) + 1;
    this.pending = { seq: ++this.seq, blocks, at: performance.now() };
    const request = {
      seq: this.seq,
      scene: this.player.scene ? this.player.scene.id : "",
      mode: this.player.prefs.mode,
      frame: this.player.frame,
      blocks,
      want: want.slice(0, 8),
    };
    this.turn.take(() => this.api.setStateValue("request", request));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.plan(), 12500);
  }

  /** @param {Uint8Array} data @param {boolean} alone  A frame ahead of its block. */
  addBlock(data, alone = false) {
    const { store } = this.player, { generation } = store;
    const copy = data.slice();
    const { index } = unpack(copy).header, name = alone ? `frame.${index}` : index;
    if (this.decoding.has(name) || store.has(index)) return;
    this.decoding.add(name);
    if (alone) store.stillOf = index;
    Block.decode(copy).then((block) => {
      this.decoding.delete(name);
      if (generation !== store.generation || block.mode !== this.player.prefs.mode) return;
      if (!alone) store.add(block, this.player.blockAt(this.player.frame));
      else if (!store.has(index)) store.still = block;
      if (this.player.frame >= block.start && this.player.frame < block.stop) {
        this.player.stage.invalidate(true);
        if (!alone) this.player.transport.resume();
      }
      this.player.warm();
      this.player.sound.pump();
      this.plan();
    });
  }

  addLattice(name, data) {
    const { header, arrays } = unpack(data), generation = this.player.store.generation;
    if (this.player.store.lattices.has(name) || this.decoding.has(name)) return;
    this.decoding.add(name);
    inflate(arrays.values).then((values) => {
      this.decoding.delete(name);
      if (generation !== this.player.store.generation) return;
      this.player.store.addLattice(name, { ...header, values });
      this.player.stage.invalidate(true);
      this.plan();
    });
  }
}
