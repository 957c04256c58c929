// @ts-check
// Play and pause: the sound's clock moves the frame.

import { step } from "./playback.js";

export class Transport {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    this.starting = false;
    /** Stopped until a block comes. */
    this.waiting = false;
    this.tickRaf = 0;
  }

  toggle() {
    if (this.player.playing) this.pause();
    else this.play();
  }

  play() {
    if (!this.player.nFrames) return;
    if (
      this.player.loopOn &&
      this.player.loop &&
      (this.player.frame < this.player.loop[0] || this.player.frame >= this.player.loop[1])
    ) {
      this.player.frame = this.player.loop[0];
    } else if (this.player.frame >= this.player.nFrames - 1) this.player.frame = 0;
    this.player.playing = true;
    this.player.controls.syncControls();
    this.startSound();
    this.tick();
    this.player.requests.plan();
  }

  async startSound() {
    const at = this.player.frame;
    this.starting = true;
    const ok = await this.player.sound.start(at, Number(this.player.prefs.rate), (f) => this.player.blockOf(f), {
      audible: this.player.scene.header.has.audio,
      rate: this.player.scene.header.sample_rate_hz,
      fps: this.player.fps,
    });
    this.starting = false;
    if (ok && !this.player.playing) this.player.sound.stop();
  }

  pause() {
    if (!this.player.playing) return;
    this.player.playing = false;
    this.waiting = false;
    this.player.sound.stop();
    this.player.readout.note("");
    this.player.controls.syncControls();
    this.player.saveUrl();
  }

  // Wait for the block that is played, without an end to playing.
  hold() {
    if (!this.player.playing) return;
    this.waiting = true;
    this.player.sound.stop();
  }

  resume() {
    if (this.player.playing && this.waiting) {
      this.waiting = false;
      this.player.readout.note("");
      this.startSound();
    }
  }

  tick() {
    if (!this.player.playing || this.player.dead) return;
    this.tickRaf = requestAnimationFrame(() => this.tick());
    if (this.starting || this.waiting || !this.player.sound.running) return;
    const { player } = this, position = player.sound.position();
    const { kind, frame } = step(position, {
      loop: player.loopOn ? player.loop : null,
      nFrames: player.nFrames,
      has: (f) => player.store.has(player.blockAt(f)),
    });
    if (kind === "loop") {
      player.frame = frame;
      this.startSound();
      player.show(frame);
      return;
    }
    if (kind === "end") {
      this.pause();
      player.show(frame);
      return;
    }
    if (kind === "wait") {
      // never run ahead of what can be shown
      this.waiting = true;
      player.stats.buffering++;
      player.sound.stop();
      player.readout.note("Loading …");
      player.frame = frame;
      player.requests.plan();
      return;
    }
    this.player.sound.pump();
    this.player.hearing.tick();
    if (frame !== this.player.frame) {
      this.player.frame = frame;
      this.player.timeline.follow(frame);
      this.player.warm();
      this.player.requests.plan();
      this.player.stage.dirty = true;
      this.player.stage.draw();
      this.player.saveUrl();
    }
    // what is on screen behind what is heard, in ms; the frame is the right one while this is less than its length
    if (this.player.sound.audible) {
      const late = ((position - this.player.drawn) * 1000) / this.player.fps / Number(this.player.prefs.rate);
      this.player.stats.sync.push(late);
      if (this.player.stats.sync.length > 4000) this.player.stats.sync.shift();
    }
  }
}
