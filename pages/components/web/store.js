// @ts-check
// Blocks, lattices and decoded pictures that are at hand: the least recently used go first, all of them bounded.

/** @typedef {import("./protocol.js").Block} Block */

/** Decoded pictures by name. */
export class Pictures {
  /** @param {number} most @param {(jpeg: any) => Promise<any>} decode */
  constructor(most, decode = (jpeg) => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }))) {
    this.most = most;
    this.decode = decode;
    /** @type {Map<string | number, {bitmap: any}>} */
    this.entries = new Map();
  }

  /**
   * A picture, or null while it is decoded; `done` is called when it has come.
   * @param {string | number} name @param {Uint8Array | null} jpeg @param {() => void} done
   * @param {any} [held] Bitmap that must not be closed, since it is on the screen.
   */
  get(name, jpeg, done, held) {
    const known = this.entries.get(name);
    if (known) {
      this.entries.delete(name);
      this.entries.set(name, known);
      return known.bitmap;
    }
    if (!jpeg) return null;
    const entry = { bitmap: null };
    this.entries.set(name, entry);
    this.decode(jpeg).then((bitmap) => {
      if (this.entries.get(name) !== entry) bitmap.close();
      else entry.bitmap = bitmap;
      done();
    }, done);
    for (const [key, old] of this.entries) {
      if (this.entries.size <= this.most) break;
      if (old.bitmap && old.bitmap !== held) old.bitmap.close();
      this.entries.delete(key);
    }
    return null;
  }

  clear() {
    for (const { bitmap } of this.entries.values()) if (bitmap) bitmap.close();
    this.entries.clear();
  }
}

/** What the player holds of a recording. */
export class Store {
  constructor(maxBytes = 120e6, maxPictures = 56, maxLattices = 12) {
    this.maxBytes = maxBytes;
    this.maxLattices = maxLattices;
    this.pictures = new Pictures(maxPictures);
    /** Grows with each clearing: what was asked for before it is not taken in. */
    this.generation = 0;
    this.clear();
  }

  clear() {
    /** @type {Map<number, Block>} */
    this.blocks = new Map();
    /** @type {Map<string, any>} */
    this.lattices = new Map();
    /** A frame that came alone, ahead of its block. @type {Block | null} */
    this.still = null;
    /** Block of which a frame has come alone; -1 for none. */
    this.stillOf = -1;
    this.pictures.clear();
    this.bytes = 0;
    this.generation += 1;
  }

  /** @param {number} index */
  get(index) {
    const block = this.blocks.get(index);
    if (block) {
      this.blocks.delete(index);
      this.blocks.set(index, block);
    }
    return block;
  }

  /** @param {number} index */
  has(index) {
    return this.blocks.has(index);
  }

  /** What shows a frame: its block, or the frame that came alone. @param {number} index @param {number} frame */
  showing(index, frame) {
    return this.get(index) || (this.still && this.still.start === frame ? this.still : undefined);
  }

  /** @param {Block} block @param {number} keep Number of the block under the cursor: it and its neighbours stay. */
  add(block, keep) {
    const old = this.blocks.get(block.index);
    if (old) this.bytes -= old.bytes;
    this.blocks.delete(block.index);
    this.blocks.set(block.index, block);
    this.bytes += block.bytes;
    if (this.stillOf === block.index) this.still = null;
    for (const [index, kept] of this.blocks) {
      if (this.bytes <= this.maxBytes) break;
      if (Math.abs(index - keep) <= 2) continue;
      this.blocks.delete(index);
      this.bytes -= kept.bytes;
    }
  }

  /** @param {string} name @param {any} lattice */
  addLattice(name, lattice) {
    this.lattices.set(name, lattice);
    for (const key of this.lattices.keys()) {
      if (this.lattices.size <= this.maxLattices) break;
      this.lattices.delete(key);
    }
  }
}
