// @ts-check
// Pictures of the whole sphere as seen from inside: on the graphics card, or without one on a canvas.

/**
 * @typedef {import("./gaze.js").Perspective} Perspective
 * @typedef {object} Layers  What is seen; pictures of the whole canvas.
 * @property {any} base  Picture (`ImageBitmap`, canvas), or null.
 * @property {import("./painting.js").Raster | null} over  What is laid over it.
 * @property {number} version  Grows when `over` is painted anew.
 * @property {number[]} ground  Where there is no picture: red, green, blue, 0 to 255.
 */

const VERTICES = `#version 300 es
out vec2 place;
void main() {
  place = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0;
  gl_Position = vec4(place, 0.0, 1.0);
}`;
// columns of the canvas go around: textures repeat in x, and nothing is derived from differences of neighbouring pixels
const PIXELS = `#version 300 es
precision highp float;
in vec2 place;
out vec4 colour;
uniform vec2 reach;
uniform vec3 right, up, front, ground;
uniform sampler2D base, over;
uniform bvec2 has;
void main() {
  vec3 v = front + place.x * reach.x * right + place.y * reach.y * up;
  vec2 at = 0.5 - vec2(atan(v.y, v.x) / 6.283185307, atan(v.z, length(v.xy)) / 3.141592654);
  vec3 seen = has.x ? texture(base, at).rgb : ground;
  vec4 laid = has.y ? texture(over, at) : vec4(0.0);
  colour = vec4(seen * (1.0 - laid.a) + laid.rgb, 1.0);
}`;
const UNIFORMS = ["reach", "right", "up", "front", "ground", "base", "over", "has"];

/** A canvas with a context of the graphics card. Browsers have a few of them only, so they are lent: `borrowLens`. */
class Lens {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.canvas.className = "lens";
    this.canvas.setAttribute("aria-hidden", "true");
    const wishes = { antialias: false, depth: false, stencil: false, alpha: false };
    this.gl = /** @type {WebGL2RenderingContext | null} */ (this.canvas.getContext("webgl2", wishes));
    /** Called when the context was lost, or is back. @type {() => void} */
    this.changed = () => {};
    this.ready = false;
    this.canvas.addEventListener("webglcontextlost", (e) => {
      e.preventDefault(); // else it never comes back
      this.ready = false;
      this.changed();
    });
    this.canvas.addEventListener("webglcontextrestored", () => {
      this.start();
      this.changed();
    });
    this.start();
  }

  start() {
    const { gl } = this;
    this.base = this.over = null;
    this.version = -1;
    this.drawn = "";
    this.sizes = ["", "", ""];
    /** Texture of the picture that is shown, and of the one that was loaded last: 0 and 2 in turns. */
    this.unit = this.next = 0;
    /** @type {any} */
    this.prepared = null;
    this.ready = false;
    if (!gl || gl.isContextLost()) return;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTICES], [gl.FRAGMENT_SHADER, PIXELS]]) {
      const shader = gl.createShader(/** @type {number} */ (kind));
      gl.shaderSource(shader, /** @type {string} */ (text));
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      gl.deleteShader(shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return;
    gl.useProgram(program);
    /** @type {Record<string, WebGLUniformLocation>} */
    this.at = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
    gl.uniform1i(this.at.base, 0);
    gl.uniform1i(this.at.over, 1);
    [0, 1, 2].forEach((unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.REPEAT);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    });
    this.ready = true;
  }

  /** Load a picture ahead of need, beside the one that is shown: it takes a millisecond. @param {any} base */
  prepare(base) {
    const { gl } = this;
    if (!this.ready || base === this.prepared) return;
    this.next = this.unit ? 0 : 2;
    this.hold(this.next, base.width, base.height);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, base);
    this.prepared = base;
  }

  /** A texture becomes the one that is filled, and as large as it must be. */
  hold(/** @type {number} */ unit, /** @type {number} */ width, /** @type {number} */ height) {
    const { gl } = this, size = `${width}x${height}`;
    gl.activeTexture(gl.TEXTURE0 + unit);
    if (this.sizes[unit] === size) return;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    this.sizes[unit] = size;
  }

  /**
   * @param {Perspective} view @param {Layers} layers @param {boolean} [anew]  Even where nothing has changed: a canvas
   *   can be read only right after it was drawn.
   */
  draw(view, { base, over, version, ground }, anew = false) {
    const { gl, at, canvas } = this, dpr = window.devicePixelRatio || 1;
    const width = Math.round(view.width * dpr), height = Math.round(view.height * dpr);
    const drawn = [width, height, view.focal, view.front, view.up, ground, !!over].join();
    const same = base === this.base && over === this.over && version === this.version && drawn === this.drawn;
    if (same && !anew) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    const { RGBA, TEXTURE_2D, UNSIGNED_BYTE } = gl;
    if (base && base !== this.base) {
      this.prepare(base);
      this.unit = this.next;
      gl.uniform1i(at.base, this.unit);
    }
    if (over && (over !== this.over || version !== this.version)) {
      const { width: w, height: h } = over.canvas;
      this.hold(1, w, h);
      gl.texSubImage2D(TEXTURE_2D, 0, 0, 0, w, h, RGBA, UNSIGNED_BYTE, premultiplied(over.pixels));
    }
    Object.assign(this, { base, over, version, drawn });
    gl.uniform2f(at.reach, view.width / 2 / view.focal, view.height / 2 / view.focal);
    for (const name of ["right", "up", "front"]) gl.uniform3fv(at[name], view[name]);
    gl.uniform3fv(at.ground, ground.map((v) => v / 255));
    gl.uniform2i(at.has, base ? 1 : 0, over ? 1 : 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** @type {Uint32Array | null} */
let premultipliedPixels = null;

/**
 * Colours times their opacity, so that nothing dark comes from between two pixels; the browser takes longer for it.
 * @param {Uint32Array} pixels
 */
function premultiplied(pixels) {
  if (!premultipliedPixels || premultipliedPixels.length !== pixels.length) {
    premultipliedPixels = new Uint32Array(pixels.length);
  }
  const out = premultipliedPixels;
  for (let i = 0; i < pixels.length; i++) {
    const v = pixels[i], a = v >>> 24;
    if (a === 0 || a === 255) out[i] = a ? v : 0;
    else {
      const s = a / 255;
      out[i] = ((a << 24) | (((v >> 16) & 255) * s << 16) | (((v >> 8) & 255) * s << 8) | ((v & 255) * s)) >>> 0;
    }
  }
  return new Uint8Array(out.buffer);
}

/** @type {Lens[]} */
const spareLenses = [];
let lensMissing = false;

/**
 * A lens of the graphics card, to be given back; null where there is none.
 * @param {() => void} changed  Called when its context was lost, or is back.
 */
export function borrowLens(changed) {
  if (lensMissing) return null;
  const lens = spareLenses.pop() || new Lens();
  lensMissing = !lens.gl;
  if (lensMissing) return null;
  lens.changed = changed;
  return lens;
}

/** @param {Lens | null} lens */
export function returnLens(lens) {
  if (!lens) return;
  lens.canvas.remove();
  lens.changed = () => {};
  spareLenses.push(lens);
}

/** The same without a graphics card: for each pixel of the view the pixel of the canvas is looked up. */
export class PlainLens {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d");
    this.sheet = document.createElement("canvas");
    Object.assign(this.sheet, { width: 1440, height: 720 });
    this.flat = this.sheet.getContext("2d", { willReadFrequently: true });
    this.drawn = this.looked = "";
    /** @type {any} */
    this.base = null;
    /** @type {any} */
    this.over = null;
  }

  /** @param {Perspective} view @param {Layers} layers */
  draw(view, { base, over, version, ground }) {
    const width = Math.round(view.width), height = Math.round(view.height);
    const looked = [width, height, view.focal, view.front, view.up].join();
    if (looked !== this.looked) this.look(view, width, height);
    const drawn = [version, ground, !!over].join();
    if (looked === this.looked && drawn === this.drawn && base === this.base && over === this.over) return;
    if (drawn !== this.drawn || base !== this.base || over !== this.over) {
      const { flat } = this;
      flat.fillStyle = `rgb(${ground.join()})`;
      flat.fillRect(0, 0, 1440, 720);
      for (const image of [base, over && over.canvas]) if (image) flat.drawImage(image, 0, 0, 1440, 720);
      this.source = new Uint32Array(flat.getImageData(0, 0, 1440, 720).data.buffer);
    }
    Object.assign(this, { base, over, drawn, looked });
    const { source, places, image } = this, pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = source[places[i]];
    this.ctx.putImageData(image, 0, 0);
  }

  /** @param {Perspective} view @param {number} width @param {number} height */
  look(view, width, height) {
    const { right, up, front, focal } = view;
    if (this.canvas.width !== width || this.canvas.height !== height || !this.image) {
      Object.assign(this.canvas, { width, height });
      this.image = this.ctx.createImageData(width, height);
      this.places = new Uint32Array(width * height);
    }
    for (let row = 0, i = 0; row < height; row++) {
      const y = (view.height / 2 - row - 0.5) / focal;
      for (let column = 0; column < width; column++, i++) {
        const x = (column + 0.5 - view.width / 2) / focal;
        const a = front[0] + x * right[0] + y * up[0], b = front[1] + x * right[1] + y * up[1];
        const u = 0.5 - Math.atan2(b, a) / (2 * Math.PI);
        const v = 0.5 - Math.atan2(front[2] + y * up[2], Math.sqrt(a * a + b * b)) / Math.PI;
        this.places[i] = Math.min(719, (v * 720) | 0) * 1440 + ((u * 1440) | 0) % 1440;
      }
    }
  }
}
