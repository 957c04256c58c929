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
    // the first picture first: extras come with a later request
    if (hereMissing) this.send(blocks.slice(0, 1), []);
    else this.send(blocks.slice(0, 2), want);
  }

  // What is wanted beside blocks, and not known to be impossible.
  extrasWanted(here) {
    const { player } = this, { scene, status, store } = player, want = [];
    const failed = (name) => (status[name] || {}).state === "error";
    const { has } = scene.header;
    if (has.audio && !player.timeline.spectrogram && !(this.extras.spectrogram > 3)) want.push("spectrogram");
    for (const t of ["A", "B"]) {
      const both = scene.tables.includes(t) && scene.tables.includes("L");
      if (both && !player.matches[t] && !failed(t)) want.push(`matches.${t}`);
    }
    const kind = player.acousticKind;
    if (!kind || failed(`ac.${kind}`)) return want;
    if (!player.latticeIndex) want.push("lattice_index");
    const last = player.blockAt(player.nFrames - 1);
    for (const d of [0, 1, -1, 2]) {
      const name = `ac.${kind}.${here + d}`, inside = here + d >= 0 && here + d <= last;
      if (inside && !store.lattices.has(name) && !this.decoding.has(name) && !(this.extras[name] > 400)) {
        want.push(name);
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

  addBlock(data) {
    const generation = this.player.store.generation;
    const copy = data.slice();
    const index = unpack(copy).header.index;
    if (this.decoding.has(index) || this.player.store.has(index)) return;
    this.decoding.add(index);
    Block.decode(copy).then((block) => {
      this.decoding.delete(index);
      if (generation !== this.player.store.generation || block.mode !== this.player.prefs.mode) return;
      this.player.store.add(block, this.player.blockAt(this.player.frame));
      if (this.player.frame >= block.start && this.player.frame < block.stop) {
        this.player.stage.invalidate(true);
        this.player.transport.resume();
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
      this.player.store.addLattice(name, { ...header, values, loudness: arrays.loudness });
      this.player.stage.invalidate(true);
      this.plan();
    });
  }
}
