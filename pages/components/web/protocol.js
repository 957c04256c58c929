// @ts-check
// Binary containers and blocks of frames, as sai_core/viewing/player.py packs them.

/**
 * @typedef {Record<string, any>} Arrays
 * @typedef {{header: any, arrays: Arrays}} Container
 * @typedef {object} Patch  An annotation's energies in a frame, cropped.
 * @property {number} table  Number of its table.
 * @property {number} row  Of the table; -1 for what several rows were merged into.
 * @property {number} frame  Within the block.
 * @property {number} x0  First column; it may go on over the seam.
 * @property {number} y0
 * @property {number} w
 * @property {number} h
 * @property {number} offset  Of its first value.
 */

const MAGIC = 0x53414931; // SAI1
const TYPES = {
  uint8: Uint8Array, int8: Int8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, float32: Float32Array, float64: Float64Array,
};
/** Numbers of a patch: table, row, frame within the block, x0, y0, width, height, offset into the values. */
export const PATCH_FIELDS = 8;

/**
 * A container's header and arrays. Bytes are views, arrays are copies: a message need not suit their alignment.
 * @param {Uint8Array} bytes @returns {Container}
 */
export function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || view.getUint32(0) !== MAGIC) throw new Error("not a player container");
  const length = view.getUint32(4, true), base = 8 + length;
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, base)));
  /** @type {Arrays} */
  const arrays = {};
  for (const [name, [type, offset, count]] of Object.entries(header.arrays)) {
    const start = base + offset;
    if (type === "bytes") arrays[name] = bytes.subarray(start, start + count);
    else {
      const Type = TYPES[type], begin = bytes.byteOffset + start;
      arrays[name] = new Type(bytes.buffer.slice(begin, begin + count * Type.BYTES_PER_ELEMENT));
    }
  }
  return { header, arrays };
}

/** @param {Uint8Array} bytes @returns {Promise<Uint8Array>} */
export async function inflate(bytes) {
  // a Blob would be handed to another process first
  const stream = new Response(/** @type {any} */ (bytes)).body.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What some frames show: pictures, sound, and a patch for every annotation. */
export class Block {
  /** @param {Uint8Array} bytes */
  static async decode(bytes) {
    const { header, arrays } = unpack(bytes);
    return new Block(header, arrays, header.n_values ? await inflate(arrays.values) : new Uint8Array(0));
  }

  /** @param {any} header @param {Arrays} arrays @param {Uint8Array} values Energies of all patches, 0 to 255. */
  constructor(header, arrays, values) {
    this.index = header.index;
    this.start = header.start;
    this.stop = header.stop;
    this.mode = header.mode;
    /** @type {Int32Array} */
    this.patches = arrays.patches;
    this.values = values;
    /** @type {Int16Array | null} */
    this.audio = arrays.audio || null;
    this.jpeg = arrays.jpeg ? arrays.jpeg.slice() : null; // a copy, so that the big message can be freed
    this.jpegOffsets = arrays.jpeg_offsets || null;
    const n = this.patches.length / PATCH_FIELDS;
    /** Numbers of the patches of each frame. @type {number[][]} */
    this.frames = Array.from({ length: this.stop - this.start }, () => []);
    for (let p = 0; p < n; p++) this.frames[this.patches[p * PATCH_FIELDS + 2]].push(p);
    /** Closed lines around each patch, x and y in turn. @type {Float32Array[][]} */
    this.outlines = Array.from({ length: n }, () => []);
    const xy = arrays.outline_xy, offsets = arrays.outline_offsets, owner = arrays.outline_owner;
    for (let k = 0; k < owner.length; k++) {
      const points = xy.subarray(offsets[k] * 2, offsets[k + 1] * 2);
      this.outlines[owner[k]].push(Float32Array.from(points, (v) => v / header.outline_scale));
    }
    const parts = [this.values, this.jpeg, this.audio, this.patches];
    this.bytes = parts.reduce((sum, part) => sum + (part ? part.byteLength : 0), 0);
  }

  /** @param {number} p @returns {Patch} */
  patch(p) {
    const [table, row, frame, x0, y0, w, h, offset] = this.patches.subarray(p * PATCH_FIELDS, (p + 1) * PATCH_FIELDS);
    return { table, row, frame, x0, y0, w, h, offset };
  }

  /** Patches of a frame. @param {number} frame @returns {Patch[]} */
  patchesOf(frame) {
    return this.frames[frame - this.start].map((p) => this.patch(p));
  }

  /** JPEG of a frame, or null. @param {number} frame @returns {Uint8Array | null} */
  picture(frame) {
    if (!this.jpeg) return null;
    const i = frame - this.start, a = this.jpegOffsets[i], b = this.jpegOffsets[i + 1];
    return b > a ? this.jpeg.subarray(a, b) : null;
  }
}
