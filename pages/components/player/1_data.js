// Binary containers, blocks of frames, and the colour tables.

const PATCH_FIELDS = 8; // table, row, frame in block, x0, y0, width, height, offset into the values
const W = 360, H = 180;
const TYPES = {
  uint8: Uint8Array, int8: Int8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, float32: Float32Array, float64: Float64Array,
};

// One container: header plus typed arrays (see sai_core/figures/player.py).
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x53414931) throw new Error("not a player container");
  const length = view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const base = 8 + length;
  const arrays = {};
  for (const [name, [type, offset, count]] of Object.entries(header.arrays)) {
    const start = base + offset;
    if (type === "bytes") {
      arrays[name] = bytes.subarray(start, start + count);
    } else {
      const T = TYPES[type];
      const begin = bytes.byteOffset + start;
      // a copy: the message's own offset in its buffer need not suit the type's alignment
      arrays[name] = new T(bytes.buffer.slice(begin, begin + count * T.BYTES_PER_ELEMENT));
    }
  }
  return { header, arrays };
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A decoded block; `frames[i]` lists patch numbers of its i-th frame.
class Block {
  static async decode(bytes) {
    const { header, arrays } = unpack(bytes);
    const block = new Block();
    Object.assign(block, { index: header.index, start: header.start, stop: header.stop, mode: header.mode });
    block.patches = arrays.patches;
    block.audio = arrays.audio || null;
    // own copies, so that the big message can be freed
    block.jpeg = arrays.jpeg ? arrays.jpeg.slice() : null;
    block.jpegOffsets = arrays.jpeg_offsets || null;
    block.values = header.n_values ? await inflate(arrays.values) : new Uint8Array(0);
    block.frames = Array.from({ length: block.stop - block.start }, () => []);
    const n = block.patches.length / PATCH_FIELDS;
    for (let p = 0; p < n; p++) block.frames[block.patches[p * PATCH_FIELDS + 2]].push(p);
    block.outlines = Array.from({ length: n }, () => []);
    const xy = arrays.outline_xy, offsets = arrays.outline_offsets, owner = arrays.outline_owner;
    for (let k = 0; k < owner.length; k++) {
      const line = new Float32Array((offsets[k + 1] - offsets[k]) * 2);
      for (let i = 0, j = offsets[k] * 2; i < line.length; i++, j++) line[i] = xy[j] / 16;
      block.outlines[owner[k]].push(line);
    }
    block.bytes = block.values.length + (block.jpeg ? block.jpeg.length : 0) + (block.audio ? block.audio.length * 2 : 0)
      + block.patches.length * 8;
    return block;
  }
  patch(p) {
    const q = p * PATCH_FIELDS, a = this.patches;
    return { table: a[q], row: a[q + 1], x0: a[q + 3], y0: a[q + 4], w: a[q + 5], h: a[q + 6], offset: a[q + 7] };
  }
  picture(frame) {
    if (!this.jpeg) return null;
    const i = frame - this.start, a = this.jpegOffsets[i], b = this.jpegOffsets[i + 1];
    return b > a ? this.jpeg.subarray(a, b) : null;
  }
}

// Least recently used blocks and decoded pictures, both bounded.
class Store {
  constructor(maxBytes = 120e6, maxPictures = 56, maxLattices = 12) {
    this.maxLattices = maxLattices;
    this.maxBytes = maxBytes; this.maxPictures = maxPictures;
    this.clear();
  }
  clear() {
    this.blocks = new Map(); this.lattices = new Map();
    if (this.pictures) for (const p of this.pictures.values()) if (p.bitmap) p.bitmap.close();
    this.pictures = new Map(); this.bytes = 0; this.generation = (this.generation || 0) + 1;
  }
  get(index) {
    const block = this.blocks.get(index);
    if (block) { this.blocks.delete(index); this.blocks.set(index, block); }
    return block;
  }
  has(index) { return this.blocks.has(index); }
  add(block, keep) {
    const old = this.blocks.get(block.index);
    if (old) this.bytes -= old.bytes;
    this.blocks.delete(block.index);
    this.blocks.set(block.index, block);
    this.bytes += block.bytes;
    for (const [index, other] of this.blocks) {
      if (this.bytes <= this.maxBytes) break;
      if (Math.abs(index - keep) <= 2) continue;
      this.blocks.delete(index); this.bytes -= other.bytes;
    }
  }
  addLattice(name, lattice) {
    this.lattices.set(name, lattice);
    for (const key of this.lattices.keys()) { if (this.lattices.size <= this.maxLattices) break; this.lattices.delete(key); }
  }
  // The decoded picture of a frame, or null; decoding starts here and `done` is called when it is there.
  picture(frame, block, done) {
    let entry = this.pictures.get(frame);
    if (entry) { this.pictures.delete(frame); this.pictures.set(frame, entry); return entry.bitmap; }
    const bytes = block && block.picture(frame);
    if (!bytes) return null;
    entry = { bitmap: null };
    this.pictures.set(frame, entry);
    createImageBitmap(new Blob([bytes], { type: "image/jpeg" })).then((bitmap) => {
      if (this.pictures.get(frame) !== entry) { bitmap.close(); return; }
      entry.bitmap = bitmap; done(frame);
    }, () => { entry.failed = true; done(frame); });
    for (const [key, value] of this.pictures) {
      if (this.pictures.size <= this.maxPictures) break;
      if (value.bitmap) value.bitmap.close();
      this.pictures.delete(key);
    }
    return null;
  }
}

// Look-up table as 32-bit pixels (little endian ABGR), from hex digits rrggbb...
function lutPixels(hex) {
  const n = hex.length / 6, out = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const v = parseInt(hex.slice(i * 6, i * 6 + 6), 16);
    out[i] = (0xff000000 | ((v & 255) << 16) | (v & 0xff00) | (v >> 16)) >>> 0;
  }
  return out;
}

// 360 x 180 canvas that can be filled pixel by pixel.
class Raster {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.canvas.width = W; this.canvas.height = H;
    this.ctx = this.canvas.getContext("2d");
    this.image = this.ctx.createImageData(W, H);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }
  flush() { this.ctx.putImageData(this.image, 0, 0); }
}

// Maximum of chosen patches of a frame into `field` (Uint8, 360 x 180); returns the peak.
function compose(block, frame, table, accept, field) {
  field.fill(0);
  let peak = 0;
  for (const p of block.frames[frame - block.start]) {
    const q = p * PATCH_FIELDS, a = block.patches;
    if (a[q] !== table || !accept(a[q + 1])) continue;
    const x0 = a[q + 3], y0 = a[q + 4], w = a[q + 5], h = a[q + 6];
    let i = a[q + 7];
    for (let y = 0; y < h; y++) {
      const base = (y0 + y) * W;
      for (let x = 0; x < w; x++, i++) {
        const v = block.values[i];
        let c = x0 + x; if (c >= W) c -= W;
        if (v > field[base + c]) { field[base + c] = v; if (v > peak) peak = v; }
      }
    }
  }
  return peak;
}

function greatCircleDeg(az1, el1, az2, el2) {
  const r = Math.PI / 180, dl = (az1 - az2) * r, a = el1 * r, b = el2 * r;
  const x = Math.cos(b) * Math.sin(dl);
  const y = Math.cos(a) * Math.sin(b) - Math.sin(a) * Math.cos(b) * Math.cos(dl);
  return Math.atan2(Math.hypot(x, y), Math.sin(a) * Math.sin(b) + Math.cos(a) * Math.cos(b) * Math.cos(dl)) / r;
}

// When a request may leave. Streamlit drops what a run of this element has not sent yet when the next one begins, and
// then takes the element off the page until the next answer: so nothing leaves between the start of a run and its answer.
class Turn {
  constructor() {
    this.free = true; this.work = null;
    this.app = document.querySelector("[data-testid=stApp]");
    this.watch = new MutationObserver(() => { this.free = this.resting; this.go(); });
    if (this.app) this.watch.observe(this.app, { attributes: true, attributeFilter: ["data-test-script-state"] });
  }
  get resting() { return this.app.getAttribute("data-test-script-state") === "notRunning"; }
  answered() { this.free = true; this.go(); }
  // A run begins of which the page does not know yet.
  hold() { this.free = !this.app; }
  // Only the newest request counts. One that no answer ever lets go leaves after three seconds all the same.
  take(work) {
    this.work = work; clearTimeout(this.timer); this.timer = setTimeout(() => this.answered(), 3000);
    this.go();
  }
  go() {
    if (!this.free || !this.work) return;
    const work = this.work;
    clearTimeout(this.timer); this.work = null; this.free = !this.app; work();
  }
  close() { clearTimeout(this.timer); this.work = null; this.watch.disconnect(); }
}
