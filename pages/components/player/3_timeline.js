// Lanes of classes with label and prediction bars, error marks, spectrogram, one cursor.

const GUTTER = 92, RULER = 17, SPECTROGRAM = 46, TIME_RIGHT = 10;
const ERROR_KINDS = ["missed", "false positive", "confusion"];

class Timeline {
  constructor(player, canvas) {
    this.player = player; this.canvas = canvas; this.ctx = canvas.getContext("2d");
    this.lanes = []; this.from = 0; this.to = 1; this.spectrogram = null; this.errors = [];
    this.layer = document.createElement("canvas"); // everything but the cursor
    this.bind();
  }

  // Lanes of the classes that occur; runs of frames per table and class.
  load(scene) {
    const present = new Set();
    for (const t of scene.tables) for (const c of scene.columns[t].category) present.add(c);
    this.lanes = scene.header.classes.filter((c) => present.has(c.id)).map((c) => ({ cls: c, runs: {} }));
    const lane = new Map(this.lanes.map((l) => [l.cls.id, l]));
    for (const t of scene.tables) {
      const { frame, category } = scene.columns[t], open = new Map();
      for (let i = 0; i < frame.length; i++) {
        const runs = (lane.get(category[i]).runs[t] ||= []), run = open.get(category[i]);
        if (run && frame[i] <= run[1]) run[1] = Math.max(run[1], frame[i] + 1);
        else { const fresh = [frame[i], frame[i] + 1]; open.set(category[i], fresh); runs.push(fresh); }
      }
    }
    this.resetZoom(); this.dirty = true;
  }
  resetZoom() { this.from = 0; this.to = Math.max(1, this.player.nFrames); this.dirty = true; }

  // Runs of errors of one kind and class, for the marks.
  setErrors(events, categoryOf) {
    const open = new Map(); this.errors = [];
    for (let i = 0; i < events.frame.length; i++) {
      const c = categoryOf(i), key = events.kind[i] * 64 + c, f = events.frame[i], run = open.get(key);
      if (run && f <= run.to) run.to = Math.max(run.to, f + 1);
      else { const fresh = { kind: events.kind[i], c, from: f, to: f + 1 }; open.set(key, fresh); this.errors.push(fresh); }
    }
    this.dirty = true;
  }

  resize(width, height) {
    const dpr = window.devicePixelRatio || 1;
    this.width = width; this.height = height;
    for (const c of [this.canvas, this.layer]) { c.width = Math.round(width * dpr); c.height = Math.round(height * dpr); }
    this.canvas.style.width = width + "px"; this.canvas.style.height = height + "px";
    this.dirty = true;
  }
  get plotWidth() { return this.width - GUTTER - TIME_RIGHT; }
  toX(frame) { return GUTTER + ((frame - this.from) / (this.to - this.from)) * this.plotWidth; }
  toFrame(x) { return this.from + ((x - GUTTER) / this.plotWidth) * (this.to - this.from); }
  get specTop() { return this.height - SPECTROGRAM - 5; }
  // Height that shows the lanes comfortably.
  get wanted() { const n = Math.max(this.lanes.length, 3); return RULER + SPECTROGRAM + 12 + n * (n <= 5 ? 19 : n <= 8 ? 15 : 11.5); }
  get laneHeight() { return this.lanes.length ? Math.min(24, (this.specTop - RULER - 5) / this.lanes.length) : 0; }

  bind() {
    const c = this.canvas; let drag = null;
    const frameAt = (e) => this.toFrame(e.clientX - c.getBoundingClientRect().left);
    const clamp = (f) => Math.min(Math.max(Math.floor(f), 0), this.player.nFrames - 1);
    c.addEventListener("pointerdown", (e) => {
      this.player.focus(); c.setPointerCapture(e.pointerId);
      drag = { mark: e.shiftKey, from: frameAt(e) };
      if (!drag.mark) this.player.seek(clamp(drag.from));
    });
    c.addEventListener("pointermove", (e) => {
      if (!drag) return;
      const f = frameAt(e);
      if (drag.mark) this.player.setLoop(clamp(Math.min(drag.from, f)), clamp(Math.max(drag.from, f)) + 1);
      else this.player.seek(clamp(f));
    });
    const end = () => { drag = null; };
    c.addEventListener("pointerup", end); c.addEventListener("pointercancel", end);
    c.addEventListener("dblclick", () => { this.resetZoom(); this.player.invalidate(); });
    c.addEventListener("wheel", (e) => {
      e.preventDefault();
      const span = this.to - this.from, n = this.player.nFrames;
      if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) this.move(((e.deltaX || e.deltaY) / this.plotWidth) * span);
      else {
        const centre = Math.min(Math.max(frameAt(e), this.from), this.to);
        const next = Math.min(Math.max(span * Math.exp(e.deltaY * 0.0016), Math.min(20, n)), n);
        const share = (centre - this.from) / span;
        this.from = centre - share * next; this.to = this.from + next; this.move(0);
      }
      this.player.invalidate();
    }, { passive: false });
  }
  move(frames) {
    const n = this.player.nFrames, span = this.to - this.from;
    this.from = Math.min(Math.max(this.from + frames, 0), Math.max(0, n - span)); this.to = this.from + span; this.dirty = true;
  }
  // Keep the cursor in sight when zoomed in.
  follow(frame) {
    const span = this.to - this.from;
    if (span >= this.player.nFrames) return;
    if (frame < this.from || frame >= this.to - span * 0.04) this.move(frame - this.from - span * 0.1);
  }

  mark(ctx, kind, x, y, theme, r = 3.2) {
    ctx.lineWidth = 4; ctx.strokeStyle = theme.bg; ctx.lineJoin = "round"; ctx.lineCap = "round";
    const shape = () => {
      ctx.beginPath();
      if (kind === 0) ctx.arc(x, y, r, 0, 7);
      else if (kind === 1) { const d = r * 0.9; ctx.moveTo(x - d, y - d); ctx.lineTo(x + d, y + d); ctx.moveTo(x + d, y - d); ctx.lineTo(x - d, y + d); }
      else { const d = r * 1.2; ctx.moveTo(x, y - d); ctx.lineTo(x + d, y); ctx.lineTo(x, y + d); ctx.lineTo(x - d, y); ctx.closePath(); }
    };
    shape(); ctx.stroke();
    if (kind === 0) { ctx.fillStyle = theme.bg; ctx.fill(); }
    ctx.lineWidth = r < 3 ? 1.5 : 1.8; ctx.strokeStyle = theme.errors[kind]; ctx.fillStyle = theme.errors[kind];
    if (kind === 2) ctx.fill();
    ctx.stroke(); ctx.lineCap = "butt";
  }

  paint() {
    const { player } = this, theme = player.theme, dpr = window.devicePixelRatio || 1, ctx = this.layer.getContext("2d");
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.width, this.height);
    const left = GUTTER, right = this.width - TIME_RIGHT, lh = this.laneHeight;
    // ruler
    const seconds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120];
    const perSecond = (this.plotWidth / (this.to - this.from)) * 10;
    const step = seconds.find((s) => s * perSecond >= 58) || 300;
    ctx.font = `10.5px ${theme.font}`; ctx.fillStyle = theme.dim; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    ctx.strokeStyle = theme.line; ctx.lineWidth = 1; ctx.beginPath();
    for (let s = Math.ceil(this.from / 10 / step) * step; s * 10 <= this.to + 1e-6; s += step) {
      const x = Math.round(this.toX(s * 10)) + 0.5;
      ctx.moveTo(x, RULER); ctx.lineTo(x, this.height - 5);
      const text = player.clock(s, step < 1 ? 1 : 0), half = ctx.measureText(text).width / 2;
      ctx.fillText(text, Math.min(x, right - half + 8), RULER / 2 + 1);
    }
    ctx.stroke();
    // lanes
    const systems = player.shown; // keys of shown systems, e.g. ["A"]
    this.lanes.forEach((lane, i) => {
      const y = RULER + i * lh;
      ctx.strokeStyle = theme.faint; ctx.beginPath(); ctx.moveTo(8, y + 0.5); ctx.lineTo(right, y + 0.5); ctx.stroke();
      ctx.textAlign = "right"; ctx.fillStyle = theme.fg; ctx.font = `${lh < 11 ? 9.5 : 11.5}px ${theme.font}`;
      ctx.fillText(lane.cls.short, left - 16, y + lh / 2 + 0.5);
      ctx.fillStyle = lane.cls.color; ctx.fillRect(left - 11, y + lh / 2 - 3.5, 7, 7);
      const rows = ["L", ...systems], gap = 1.5, top = y + Math.min(3, lh * 0.14), room = lh - Math.min(3, lh * 0.14) - 3.4;
      const labelHeight = Math.max(2, room * (rows.length === 2 ? 0.56 : 0.44));
      let at = top;
      rows.forEach((t, k) => {
        const h = k === 0 ? labelHeight : Math.max(1.5, (room - labelHeight) / systems.length - gap);
        ctx.fillStyle = lane.cls.color; ctx.globalAlpha = k === 0 ? 0.95 : 0.5;
        for (const [a, b] of lane.runs[t] || []) {
          const xa = Math.max(this.toX(a), left), xb = Math.min(this.toX(b), right);
          if (xb > left && xa < right) ctx.fillRect(xa, at, Math.max(xb - xa, 1), h);
        }
        ctx.globalAlpha = 1; at += h + gap;
      });
    });
    // errors: a line along the run and one mark at its start (marks keep their distance)
    const laneOf = new Map(this.lanes.map((l, i) => [l.cls.id, i])), lastMark = new Map();
    for (const run of this.errors) {
      const i = laneOf.get(run.c); if (i === undefined || run.to < this.from || run.from > this.to) continue;
      const y = RULER + i * lh + lh / 2, xa = Math.max(this.toX(run.from), left), xb = Math.min(this.toX(run.to), right);
      ctx.fillStyle = theme.errors[run.kind]; ctx.fillRect(xa, RULER + (i + 1) * lh - 2.2, Math.max(xb - xa, 1), 1.8);
      const x = this.toX((Math.min(run.to, run.from + 1) + run.from) / 2);
      // many short errors would bury the bars: then the lines alone show where, and zooming in brings the marks back
      if (x < left || x > right || x - (lastMark.get(i) ?? -99) < 26) continue;
      lastMark.set(i, x); this.mark(ctx, run.kind, x, y, theme, Math.min(3.4, Math.max(2.3, lh * 0.24)));
    }
    if (!this.lanes.length) {
      ctx.fillStyle = theme.dim; ctx.font = `12.5px ${theme.font}`; ctx.textAlign = "center";
      ctx.fillText("No labels and no predictions: choose a prediction set above, or add labels_dev/<split>/<recording>_std.json.", (left + right) / 2, (RULER + this.specTop) / 2);
    }
    // spectrogram
    const top = this.specTop;
    ctx.textAlign = "right"; ctx.fillStyle = theme.dim; ctx.font = `10.5px ${theme.font}`;
    if (this.spectrogram) {
      const image = this.spectrogram.canvas, per = image.width / this.spectrogram.frames;
      ctx.imageSmoothingEnabled = true;
      const a = Math.max(0, this.from), b = Math.min(this.to, this.spectrogram.frames);
      if (b > a) ctx.drawImage(image, a * per, 0, (b - a) * per, image.height, this.toX(a), top, this.toX(b) - this.toX(a), SPECTROGRAM);
      ctx.fillText(this.spectrogram.top, left - 6, top + 5); ctx.fillText("0 Hz", left - 6, top + SPECTROGRAM - 5);
      ctx.fillText("Sound", left - 6, top + SPECTROGRAM / 2);
    } else {
      ctx.textAlign = "center";
      ctx.fillText(player.audioMessage, (left + right) / 2, top + SPECTROGRAM / 2);
    }
    ctx.strokeStyle = theme.line; ctx.strokeRect(left - 0.5, top - 0.5, right - left + 1, SPECTROGRAM + 1);
    if (player.loop) {
      const a = this.toX(player.loop[0]), b = this.toX(player.loop[1]);
      ctx.fillStyle = theme.accent; ctx.globalAlpha = player.loopOn ? 0.16 : 0.08; ctx.fillRect(a, RULER, b - a, this.height - RULER - 5);
      ctx.globalAlpha = player.loopOn ? 1 : 0.5; ctx.fillRect(a, RULER - 3, b - a, 3); ctx.globalAlpha = 1;
    }
    this.dirty = false;
  }

  draw() {
    if (!this.width) return;
    if (this.dirty) this.paint();
    const { ctx, player } = this, theme = player.theme, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, this.canvas.width, this.canvas.height);
    ctx.drawImage(this.layer, 0, 0);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    const x0 = this.toX(player.frame), x1 = this.toX(player.frame + 1), x = (x0 + x1) / 2;
    if (x < GUTTER - 1 || x > this.width - TIME_RIGHT + 1) return;
    ctx.fillStyle = theme.accent; ctx.globalAlpha = 0.22; ctx.fillRect(x0, RULER, Math.max(x1 - x0, 1), this.height - RULER - 5); ctx.globalAlpha = 1;
    ctx.fillRect(x - 0.75, RULER - 3, 1.5, this.height - RULER - 2);
    const text = player.clock(player.frame / 10, 1);
    ctx.font = `600 10.5px ${theme.font}`; const w = ctx.measureText(text).width + 10;
    const bx = Math.min(Math.max(x - w / 2, GUTTER - 8), this.width - w - 2);
    ctx.beginPath(); ctx.roundRect(bx, 1, w, RULER - 3, 4); ctx.fill();
    ctx.fillStyle = theme.onAccent; ctx.textAlign = "center"; ctx.textBaseline = "middle"; ctx.fillText(text, bx + w / 2, RULER / 2 + 0.5);
  }
}
