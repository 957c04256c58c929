// @ts-check
// Sound of consecutive blocks without gaps, and the clock that it gives: what is heard says which frame is shown.

const AHEAD_S = 1.2; // how far sound is queued
const JOINS_AFTER_S = 0.01; // when sound that is late joins in
const LEAST_AHEAD_S = 0.05; // what must be queued of a lane that is relied upon

/** @typedef {{frame0: number, t0: number, speed: number, fps: number}} Start  Where and when it was started. */

/** Seconds that are heard with a frame. @param {number} frame @param {Start} from */
export function timeOf(frame, { frame0, t0, speed, fps }) {
  return t0 + (frame - frame0) / fps / speed;
}

/** Position in frames at a time. @param {number} now @param {Start} from */
export function positionAt(now, { frame0, t0, speed, fps }) {
  return frame0 + Math.max(0, now - t0) * fps * speed;
}

/**
 * What to do at a position: `wait` for a block, `end`, go back for a `loop`, or `show` a frame.
 * @param {number} position
 * @param {{loop: [number, number] | null, nFrames: number, has: (frame: number) => boolean}} film
 */
export function step(position, { loop, nFrames, has }) {
  const frame = Math.floor(position + 1e-6);
  if (loop && frame >= loop[1]) return { kind: "loop", frame: loop[0] };
  if (!loop && frame >= nFrames) return { kind: "end", frame: nFrames - 1 };
  return { kind: has(frame) ? "show" : "wait", frame };
}

/**
 * Sixteen-bit samples as a buffer of sound.
 * @param {BaseAudioContext} context @param {Int16Array} samples Channel after channel. @param {number} rate
 * @param {{first?: number, channels?: number, scale?: number}} [how] First sample that is taken; what full scale is.
 */
export function bufferOf(context, samples, rate, { first = 0, channels = 1, scale = 32767 / 32768 } = {}) {
  const length = samples.length / channels, n = Math.max(length - first, 1), factor = scale / 32767;
  const buffer = context.createBuffer(channels, n, rate);
  for (let k = 0; k < channels; k++) {
    const channel = buffer.getChannelData(k), from = k * length + first;
    for (let i = 0; i < length - first; i++) channel[i] = samples[from + i] * factor;
  }
  return buffer;
}

/**
 * @typedef {object} Piece  Sound of a block.
 * @property {number} start @property {number} stop  Frames.
 * @property {Int16Array} samples @property {number} [channels] @property {number} [scale]
 */

/** Sound of consecutive blocks on its way to a node of the graph, by the clock of the {@link Sound} that it is of. */
export class Lane {
  /** @param {(frame: number) => Piece | null | undefined} pieceOf @param {() => AudioNode} input */
  constructor(pieceOf, input) {
    this.pieceOf = pieceOf;
    this.input = input;
    /** @type {AudioBufferSourceNode[]} */
    this.sources = [];
    this.next = 0;
    /** What is queued without a gap, in seconds of the context. */
    this.begins = this.ends = 0;
  }

  /** Whether it sounds now and goes on to do so. @param {number} now */
  sounds(now) {
    return this.begins <= now && this.ends > now + LEAST_AHEAD_S;
  }

  /** Queue the blocks at hand, a little ahead of what is heard. @param {Sound} sound */
  pump({ context, from, rate }) {
    while (true) {
      const now = context.currentTime;
      // what came too late is not played, and what follows joins in where it should be
      this.next = Math.max(this.next, Math.floor(positionAt(now, from)));
      const at = timeOf(this.next, from);
      if (at > now + AHEAD_S) return;
      const piece = this.pieceOf(this.next);
      if (!piece || piece.samples.length === 0) return;
      const { channels, scale } = piece, first = ((this.next - piece.start) * rate) / from.fps;
      const source = context.createBufferSource();
      source.buffer = bufferOf(context, piece.samples, rate, { first, channels, scale });
      source.playbackRate.value = from.speed;
      source.connect(this.input());
      // at a time to come, so that it is exactly where it should be
      const begins = at < now ? now + JOINS_AFTER_S : at;
      if (begins > at) source.start(begins, (begins - at) * from.speed);
      else source.start(at);
      source.onended = () => {
        this.sources = this.sources.filter((playing) => playing !== source);
      };
      this.sources.push(source);
      if (begins > this.ends + 1e-6) this.begins = begins;
      this.ends = timeOf(piece.stop, from);
      this.next = piece.stop;
    }
  }

  /** Let go of what is queued: something else is to sound here. @param {number} when It ends. */
  drop(when) {
    for (const source of this.sources) {
      source.onended = () => source.disconnect();
      source.stop(when);
    }
    this.sources = [];
    this.next = this.begins = this.ends = 0;
  }

  /** @param {number} frame From which on it is to sound. */
  stop(frame = 0) {
    for (const source of this.sources) {
      source.onended = null;
      try {
        source.stop();
      } catch {
        /* not started yet */
      }
      source.disconnect();
    }
    this.sources = [];
    this.next = frame;
    this.begins = this.ends = 0;
  }
}

export class Sound {
  constructor() {
    /** @type {AudioContext | null} */
    this.context = null;
    this.muted = false;
    this.turn = 0;
    this.from = { frame0: 0, t0: 0, speed: 1, fps: 10 };
    this.rate = 0;
    /** What is played beside the plain sound. @type {Lane[]} */
    this.lanes = [];
    this.plainLane = new Lane((frame) => {
      const block = this.blockOf(frame);
      return block && block.audio && { start: block.start, stop: block.stop, samples: block.audio };
    }, () => this.plain);
  }

  /**
   * Start at a frame. Without sound the page's clock is used.
   * @param {number} frame @param {number} speed
   * @param {(frame: number) => import("./protocol.js").Block | undefined} blockOf
   * @param {{audible: boolean, rate: number, fps: number}} sound
   */
  async start(frame, speed, blockOf, { audible, rate, fps }) {
    this.stop();
    const turn = ++this.turn;
    this.audible = audible;
    this.blockOf = blockOf;
    this.rate = rate;
    if (audible) {
      this.open(rate);
      this.gain.gain.value = this.muted ? 0 : 1;
      if (this.context.state !== "running") {
        await Promise.race([this.context.resume(), new Promise((resolve) => setTimeout(resolve, 400))]);
        if (turn !== this.turn) return false;
      }
      if (/** @type {string} */ (this.context.state) !== "running") this.audible = false; // refused: keep playing
    }
    this.from = { frame0: frame, t0: this.audible ? this.context.currentTime + 0.05 : this.now, speed, fps };
    for (const lane of this.all) lane.stop(frame);
    this.running = true;
    this.pump();
    return true;
  }

  /** The context and the gains that everything goes through. @param {number} rate */
  open(rate) {
    // a context at the recordings' rate: no per-block resampling, hence no clicks at block borders
    this.context ||= new AudioContext({ sampleRate: rate });
    if (this.gain) return;
    this.gain = this.context.createGain();
    this.gain.connect(this.context.destination);
    this.plain = this.context.createGain();
    this.plain.connect(this.gain);
  }

  get all() {
    return [this.plainLane, ...this.lanes];
  }

  get now() {
    return this.audible ? this.context.currentTime : performance.now() / 1000;
  }

  /** Queue the sound of the blocks at hand, a little ahead of what is heard. */
  pump() {
    if (!this.running || !this.audible) return;
    for (const lane of this.all) lane.pump(this);
  }

  /** Position in frames (fractional) of what is heard now. */
  position() {
    if (!this.running) return this.from.frame0;
    const latency = this.audible ? Math.min(this.context.outputLatency || 0, 0.5) : 0;
    return positionAt(this.now - latency, this.from);
  }

  /** @param {boolean} on */
  mute(on) {
    this.muted = on;
    if (this.gain) this.gain.gain.value = on ? 0 : 1;
  }

  stop() {
    this.running = false;
    this.turn += 1;
    for (const lane of this.all) lane.stop();
  }

  close() {
    this.stop();
    if (this.context) this.context.close();
    this.context = null;
    this.gain = null;
  }
}
