// Sound of consecutive blocks without gaps; its clock drives the frames.

const RATE = 24000, PER_FRAME = 2400, AHEAD_S = 1.2;

class Sound {
  constructor() { this.sources = []; this.context = null; this.muted = false; }

  // Start at a frame. `blockOf(frame)` gives a decoded block or undefined. Without sound the page's clock is used.
  async start(frame, speed, blockOf, audible) {
    this.stop();
    const turn = (this.turn = (this.turn || 0) + 1);
    this.audible = audible; this.blockOf = blockOf; this.speed = speed; this.frame0 = frame; this.next = frame;
    if (audible) {
      // a context at the recordings' rate: no per-block resampling, hence no clicks at block borders
      this.context ||= new AudioContext({ sampleRate: RATE });
      if (!this.gain) { this.gain = this.context.createGain(); this.gain.connect(this.context.destination); }
      this.gain.gain.value = this.muted ? 0 : 1;
      if (this.context.state !== "running") {
        await Promise.race([this.context.resume(), new Promise((r) => setTimeout(r, 400))]);
        if (turn !== this.turn) return false;
      }
      if (this.context.state !== "running") this.audible = false; // the browser refuses sound: keep playing
    }
    this.t0 = this.audible ? this.context.currentTime + 0.05 : performance.now() / 1000;
    this.running = true;
    this.pump();
    return true;
  }

  // Queue the sound of the blocks at hand, a little ahead of what is heard.
  pump() {
    if (!this.running || !this.audible) return;
    while (true) {
      const at = this.t0 + (this.next - this.frame0) / 10 / this.speed;
      if (at > this.context.currentTime + AHEAD_S) return;
      const block = this.blockOf(this.next);
      if (!block || !block.audio || block.audio.length === 0) return;
      const from = (this.next - block.start) * PER_FRAME, n = Math.max(block.audio.length - from, 1);
      const buffer = this.context.createBuffer(1, n, RATE), channel = buffer.getChannelData(0);
      for (let i = 0; i < n && from + i < block.audio.length; i++) channel[i] = block.audio[from + i] / 32768;
      const source = this.context.createBufferSource();
      source.buffer = buffer; source.playbackRate.value = this.speed; source.connect(this.gain);
      const late = this.context.currentTime - at;
      if (late > 0) source.start(0, late * this.speed); else source.start(at);
      source.onended = () => { this.sources = this.sources.filter((s) => s !== source); };
      this.sources.push(source);
      this.next = block.stop;
    }
  }

  // Position in frames (fractional) of what is heard now.
  position() {
    if (!this.running) return this.frame0;
    const now = this.audible
      ? this.context.currentTime - Math.min(this.context.outputLatency || 0, 0.5)
      : performance.now() / 1000;
    return this.frame0 + Math.max(0, now - this.t0) * 10 * this.speed;
  }

  mute(on) { this.muted = on; if (this.gain) this.gain.gain.value = on ? 0 : 1; }
  stop() {
    this.running = false; this.turn = (this.turn || 0) + 1;
    for (const s of this.sources) { s.onended = null; try { s.stop(); } catch { /* not started yet */ } s.disconnect(); }
    this.sources = [];
  }
  close() { this.stop(); if (this.context) this.context.close(); this.context = null; this.gain = null; }
}
