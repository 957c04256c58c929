// @ts-check
// The sound around an event, of all directions or of its source alone, and the frames with it.

import { DeskEars } from "./desk_ears.js";
import { bufferOf } from "./playback.js";
import { unpack } from "./protocol.js";

const AROUND_S = 0.5, LEAST_S = 1;
const KEPT = "sai-review-alone", MOST_CLIPS = 8, AGAIN_MS = 400;

/**
 * @typedef {object} Clip  The source of an item by itself.
 * @property {"making" | "ready" | "none"} state
 * @property {string} text  Why there is none, or what was done to it.
 * @property {string} name @property {number} start @property {number} stop  Frames.
 * @property {Int16Array} samples @property {number} scale
 * @property {Evidence | null} heard  What a network makes of it; null for nothing, and while it listens.
 */

/**
 * @typedef {object} Evidence
 * @property {number[]} order  Classes, the likeliest first. @property {number[]} scores  By class, in [0, 1].
 * @property {number} nothing  That no class sounds. @property {string} by  What heard it.
 */

/**
 * What has become known of a clip: `held` is the one that is here.
 * @param {Clip | undefined} old
 * @param {{state: string, name: string, text: string, heard?: Evidence | null}} answer
 * @param {Uint8Array | undefined} bytes @returns {Clip}
 */
export function clipOf(old, { state, name, text, heard = null }, bytes) {
  if (state === "held" && old && old.state === "ready" && old.name === name) return { ...old, heard };
  if (state === "ready" && bytes) {
    const { header, arrays } = unpack(bytes), { start, stop, scale } = header;
    return { state, text, name, start, stop, scale, samples: arrays.samples, heard };
  }
  const none = { text, name, start: 0, stop: 0, scale: 1, samples: new Int16Array(0), heard: null };
  return { ...none, state: state === "none" ? "none" : "making" };
}

/** Its samples from one frame to another; null where it is not there. @param {Clip | undefined} clip */
export function cut(clip, from, to, each) {
  if (!clip || clip.state !== "ready" || from < clip.start || to > clip.stop) return null;
  return clip.samples.subarray((from - clip.start) * each, (to - clip.start) * each);
}

/**
 * What is said of what is heard. @param {boolean} alone @param {Clip | undefined} clip
 * @param {string} [ears]  What is said of two ears.
 */
export function heardWords(alone, clip, ears = "") {
  if (ears) return [heardWords(alone, clip), ears].filter(Boolean).join("; ").replace(/^t/, "T");
  if (!alone) return "";
  if (clip && clip.state === "none") return `The source alone cannot be heard: ${clip.text}`;
  if (clip && clip.state === "ready") return clip.text ? `The source alone, ${clip.text}` : "The source alone";
  return "Making the source's sound; all is heard until then";
}

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
    /**
     * @type {{source: AudioBufferSourceNode, alone: boolean, from: number, to: number, at: number, wall: number}
     *   | null}
     */
    this.playing = null;
    /** Sources by themselves, by item. @type {Map<string, Clip>} */
    this.clips = new Map();
    /** The next request asks for the one of the item on the screen. */
    this.asks = false;
    this.timer = undefined;
    this.alone = false;
    this.ears = new DeskEars(desk);
    try {
      this.alone = sessionStorage.getItem(KEPT) === "1";
    } catch {
      /* a browser that keeps nothing */
    }
    this.show();
  }

  /** Of the item on the screen. */
  get clip() {
    return this.clips.get(this.desk.current || "");
  }

  /** Name of its sound, where it is here. */
  get held() {
    return this.clip && this.clip.state === "ready" ? this.clip.name : "";
  }

  /** The source alone, or all: for this item and those that follow. */
  choose() {
    this.alone = this.asks = !this.alone;
    try {
      sessionStorage.setItem(KEPT, this.alone ? "1" : "");
    } catch {
      /* a browser that keeps nothing */
    }
    this.again();
    this.show();
    if (this.alone && this.desk.current) this.desk.rest();
  }

  /** Two ears, or one line: for this item and those that follow. */
  chooseEars() {
    this.ears.choose();
    this.again();
    this.show();
  }

  // What the server says of the source of an item.
  take(answer, bytes) {
    if (!answer) return;
    const clip = clipOf(this.clips.get(answer.item), answer, bytes);
    this.clips.delete(answer.item);
    this.clips.set(answer.item, clip);
    for (const item of this.clips.keys()) {
      if (this.clips.size <= MOST_CLIPS) break;
      this.clips.delete(item);
    }
    this.show();
    if (answer.item !== this.desk.current) return;
    if (answer.state === "ready" && this.alone) this.again();
    clearTimeout(this.timer);
    if (clip.state !== "making" && !answer.listening) return;
    this.timer = setTimeout(() => {
      this.asks = this.alone;
      this.desk.flush();
    }, AGAIN_MS);
  }

  /** What plays goes on with what is to be heard now. */
  again() {
    if (!this.playing) return;
    this.pause();
    this.play();
  }

  show() {
    const { ref } = this.desk, words = heardWords(this.alone, this.clip, this.ears.words);
    ref.ears.setAttribute("aria-pressed", String(this.ears.on));
    ref.alone.setAttribute("aria-pressed", String(this.alone));
    if (ref.heard.textContent !== words) ref.heard.textContent = ref.heard.title = words;
    this.desk.sheet?.heard(this.alone && this.clip ? this.clip.heard : null);
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
    const own = this.alone ? cut(this.clip, from, to, each) : null;
    const samples = own || new Int16Array((to - from) * each);
    for (const block of own ? [] : blocks) {
      const a = Math.max(from, block.start), b = Math.min(to, block.stop);
      if (!block.audio || b <= a) continue;
      samples.set(block.audio.subarray((a - block.start) * each, (b - block.start) * each), (a - from) * each);
    }
    this.audio ||= new AudioContext({ sampleRate: rate }); // that of the ears' filters, too
    this.audio.resume();
    const source = this.audio.createBufferSource();
    const plain = bufferOf(this.audio, samples, rate, own ? { scale: this.clip.scale } : {});
    const heard = this.ears.route(this.audio, from, to, each, own ? plain : null);
    source.buffer = heard ? heard.buffer : plain;
    source.connect(heard ? heard.input : this.audio.destination);
    this.playing = { source, alone: !!own, from, to, at: this.audio.currentTime, wall: performance.now() };
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
      this.ears.tick();
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
    this.ears.stop();
    this.desk.ref.play.textContent = "▶";
  }

  close() {
    this.pause();
    clearTimeout(this.timer);
    clearTimeout(this.ears.timer);
    if (this.audio) this.audio.close();
  }
}
