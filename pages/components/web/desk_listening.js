// @ts-check
// The sound around an event, and the frames with it.

import { bufferOf } from "./playback.js";

const AROUND_S = 0.5, LEAST_S = 1;

/**
 * Frames that are played: from the cursor, or from before the event when it is over; to a little after the event.
 * @param {number} frame @param {{start: number, end: number}} item @param {number} first @param {number} last Frames
 * that are here, `last` excluded. @param {number} fps
 */
export function stretch(frame, item, first, last, fps) {
  const around = AROUND_S * fps;
  const from = frame >= Math.min(item.end + around, last - 1) ? Math.max(item.start - around, first) : frame;
  return [from, Math.min(Math.max(item.end + 1 + around, from + LEAST_S * fps), last)];
}

export class Listening {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {AudioContext | null} */
    this.audio = null;
    /** @type {{source: AudioBufferSourceNode, from: number, to: number, at: number, wall: number} | null} */
    this.playing = null;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    const { desk } = this, { item, moment } = desk;
    const blocks = item && moment ? moment.blocks.map(([, base]) => desk.moments.blocks.get(base)).filter(Boolean) : [];
    if (!blocks.length) return;
    const fps = moment.frame_rate_hz, rate = moment.sample_rate_hz, each = rate / fps;
    const [from, to] = stretch(desk.frame, item, blocks[0].start, blocks[blocks.length - 1].stop, fps);
    const samples = new Int16Array((to - from) * each);
    for (const block of blocks) {
      const a = Math.max(from, block.start), b = Math.min(to, block.stop);
      if (!block.audio || b <= a) continue;
      samples.set(block.audio.subarray((a - block.start) * each, (b - block.start) * each), (a - from) * each);
    }
    this.audio ||= new AudioContext();
    this.audio.resume();
    const source = this.audio.createBufferSource();
    source.buffer = bufferOf(this.audio, samples, rate);
    source.connect(this.audio.destination);
    this.playing = { source, from, to, at: this.audio.currentTime, wall: performance.now() };
    source.start();
    const step = () => {
      const p = this.playing;
      if (!p) return;
      // a machine without a sound device has a clock that stands still
      const wall = this.audio.state === "running" ? 0 : (performance.now() - p.wall) / 1000;
      const frame = p.from + Math.floor(Math.max(this.audio.currentTime - p.at, wall) * fps);
      if (frame >= p.to) {
        this.pause();
        desk.seek(p.to - 1, true);
        return;
      }
      if (frame !== desk.frame) desk.seek(frame, true);
      requestAnimationFrame(step);
    };
    desk.ref.play.textContent = "❚❚";
    requestAnimationFrame(step);
  }

  pause() {
    if (this.playing) {
      try {
        this.playing.source.stop();
      } catch {
        /* ended by itself */
      }
    }
    this.playing = null;
    this.desk.ref.play.textContent = "▶";
  }

  close() {
    this.pause();
    if (this.audio) this.audio.close();
  }
}
