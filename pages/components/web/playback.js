// @ts-check
// Sound of consecutive blocks without gaps, and the clock that it gives: what is heard says which frame is shown.

const AHEAD_S = 1.2; // how far sound is queued

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
 * @param {BaseAudioContext} context @param {Int16Array} samples @param {number} rate
 */
export function bufferOf(context, samples, rate) {
  const buffer = context.createBuffer(1, Math.max(samples.length, 1), rate), channel = buffer.getChannelData(0);
  for (let i = 0; i < samples.length; i++) channel[i] = samples[i] / 32768;
  return buffer;
}

export class Sound {
  constructor() {
    /** @type {AudioBufferSourceNode[]} */
    this.sources = [];
    /** @type {AudioContext | null} */
    this.context = null;
    this.muted = false;
    this.turn = 0;
    this.from = { frame0: 0, t0: 0, speed: 1, fps: 10 };
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
    this.next = frame;
    if (audible) {
      // a context at the recordings' rate: no per-block resampling, hence no clicks at block borders
      this.context ||= new AudioContext({ sampleRate: rate });
      if (!this.gain) {
        this.gain = this.context.createGain();
        this.gain.connect(this.context.destination);
      }
      this.gain.gain.value = this.muted ? 0 : 1;
      if (this.context.state !== "running") {
        await Promise.race([this.context.resume(), new Promise((resolve) => setTimeout(resolve, 400))]);
        if (turn !== this.turn) return false;
      }
      if (/** @type {string} */ (this.context.state) !== "running") this.audible = false; // refused: keep playing
    }
    this.from = { frame0: frame, t0: this.audible ? this.context.currentTime + 0.05 : this.now, speed, fps };
    this.running = true;
    this.pump();
    return true;
  }

  get now() {
    return this.audible ? this.context.currentTime : performance.now() / 1000;
  }

  /** Queue the sound of the blocks at hand, a little ahead of what is heard. */
  pump() {
    while (this.running && this.audible) {
      const at = timeOf(this.next, this.from);
      if (at > this.context.currentTime + AHEAD_S) return;
      const block = this.blockOf(this.next);
      if (!block || !block.audio || block.audio.length === 0) return;
      const first = ((this.next - block.start) * this.rate) / this.from.fps;
      const source = this.context.createBufferSource();
      source.buffer = bufferOf(this.context, block.audio.subarray(first), this.rate);
      source.playbackRate.value = this.from.speed;
      source.connect(this.gain);
      const late = this.context.currentTime - at;
      if (late > 0) source.start(0, late * this.from.speed);
      else source.start(at);
      source.onended = () => {
        this.sources = this.sources.filter((other) => other !== source);
      };
      this.sources.push(source);
      this.next = block.stop;
    }
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
  }

  close() {
    this.stop();
    if (this.context) this.context.close();
    this.context = null;
    this.gain = null;
  }
}
