// What the unit tests share: a stand-in for the browser's storage, and containers as the server packs them.

export class Storage {
  constructor() {
    this.entries = new Map();
    this.full = false;
  }

  get length() {
    return this.entries.size;
  }

  key(k) {
    return [...this.entries.keys()][k];
  }

  getItem(key) {
    return this.entries.get(key) ?? null;
  }

  setItem(key, value) {
    if (this.full) throw new Error("QuotaExceededError");
    this.entries.set(key, value);
  }

  removeItem(key) {
    this.entries.delete(key);
  }
}

const NAMES = new Map([
  [Uint8Array, "uint8"],
  [Int16Array, "int16"],
  [Int32Array, "int32"],
  [Uint32Array, "uint32"],
  [Float32Array, "float32"],
]);

/** A container; `bytes` are arrays that stay as they are. */
export function pack(header, arrays, bytes = {}) {
  const index = {}, pieces = [];
  let offset = 0;
  const add = (name, kind, count, data) => {
    index[name] = [kind, offset, count];
    pieces.push(data, new Uint8Array(-data.length & 7));
    offset += data.length + (-data.length & 7);
  };
  for (const [name, a] of Object.entries(arrays)) {
    add(name, NAMES.get(a.constructor), a.length, new Uint8Array(a.buffer, a.byteOffset, a.byteLength));
  }
  for (const [name, data] of Object.entries(bytes)) add(name, "bytes", data.length, data);
  let text = JSON.stringify({ ...header, arrays: index });
  text += " ".repeat(-(new TextEncoder().encode(text).length + 8) & 7);
  const head = new Uint8Array(8), words = new TextEncoder().encode(text);
  head.set([0x53, 0x41, 0x49, 0x31]);
  new DataView(head.buffer).setUint32(4, words.length, true);
  return concat([head, words, ...pieces]);
}

export function concat(parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export const SIZE = { width: 360, height: 180 };
