// The panorama of the editor (regions, drawing) and the strips over time.

// Equirectangular panel: canvas coordinates x in [0, 360), y in [0, 180] (label grid), with zoom and pan through the seam.
class Pano {
  constructor(desk, canvas) {
    this.desk = desk; this.canvas = canvas; this.ctx = canvas.getContext("2d");
    this.view = { x: 180, y: 90, z: 1 };
    this.heat = new Raster(); this.field = new Uint8Array(W * H);
    this.drag = null;
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.moved(e));
    canvas.addEventListener("pointerup", (e) => this.up(e));
    canvas.addEventListener("pointercancel", () => { this.drag = null; });
    canvas.addEventListener("dblclick", () => { if (desk.tool === "move") { this.view = { x: 180, y: 90, z: 1 }; desk.paint(); } });
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      const p = this.at(e), f = Math.exp(-e.deltaY * 0.0016), v = this.view, z = Math.min(Math.max(v.z * f, 1), 16);
      if (p) { v.x = p.rawX + (v.x - p.rawX) * v.z / z; v.y = p.y + (v.y - p.y) * v.z / z; }
      v.z = z; this.clamp(); desk.paint();
    }, { passive: false });
  }
  resize(width, height) {
    const dpr = window.devicePixelRatio || 1;
    this.w = width; this.h = height;
    Object.assign(this.canvas.style, { width: width + "px", height: height + "px" });
    this.canvas.width = Math.round(width * dpr); this.canvas.height = Math.round(height * dpr);
    this.clamp();
  }
  get scale() { return Math.min(this.w / W, this.h / H) * this.view.z; }
  clamp() {
    const v = this.view, half = this.h / 2 / this.scale;
    v.y = half >= H / 2 ? H / 2 : Math.min(Math.max(v.y, half), H - half);
    v.x = ((v.x % W) + W) % W;
  }
  toX(x) { return this.w / 2 + (x - this.view.x) * this.scale; }
  toY(y) { return this.h / 2 + (y - this.view.y) * this.scale; }
  at(e) {
    const r = this.canvas.getBoundingClientRect(), s = this.scale;
    const rawX = this.view.x + (e.clientX - r.left - this.w / 2) / s, y = this.view.y + (e.clientY - r.top - this.h / 2) / s;
    return { rawX, x: ((rawX % W) + W) % W, y: Math.min(Math.max(y, 0), H) };
  }
  down(e) {
    if (e.button !== 0) return;
    const p = this.at(e), desk = this.desk;
    this.canvas.setPointerCapture(e.pointerId); desk.root.focus({ preventScroll: true });
    this.drag = { p, last: p, points: [[p.x, p.y]], on: desk.tool === "move" && this.onTarget(p), moved: false, shift: { ...desk.shift } };
    if (desk.tool === "brush" || desk.tool === "erase") { desk.shapes.push(desk.stroke(this.drag.points)); desk.draftChanged(); }
  }
  moved(e) {
    const d = this.drag, desk = this.desk, p = this.at(e);
    this.hover = p;
    if (!d) { if (desk.tool === "brush" || desk.tool === "erase") desk.paint(); return; }
    d.moved = true;
    const tool = desk.tool;
    if (tool === "move" && d.on) {
      desk.shift = { az: d.shift.az - Math.round(p.rawX - d.p.rawX), el: d.shift.el - Math.round(p.y - d.p.y) };
      desk.draftChanged();
    } else if (tool === "move") {
      this.view.x -= p.rawX - d.p.rawX; this.view.y -= p.y - d.p.y; this.clamp(); desk.paint();
    } else if (tool === "box") {
      const left = Math.min(d.p.rawX, p.rawX), right = Math.max(d.p.rawX, p.rawX), m = (v) => ((v % W) + W) % W;
      desk.shapes = [{ shape: "box", box: [m(left), Math.min(d.p.y, p.y), right - left >= W - 1 ? m(left + W - 1.5) : m(right), Math.max(d.p.y, p.y)] }];
      desk.draftChanged();
    } else {
      const last = d.points[d.points.length - 1];
      if (Math.hypot(p.rawX - d.last.rawX, p.y - last[1]) >= 0.7 && d.points.length < 5000) { d.points.push([p.x, p.y]); d.last = p; }
      if (tool === "lasso" && d.points.length > 2) desk.shapes = [{ shape: "lasso", points: d.points }];
      desk.draftChanged();
    }
  }
  up() { this.drag = null; this.desk.draftChanged(); }
  onTarget(p) {
    const s = this.desk.shift;
    return this.desk.targetPatches().some(({ block, patch }) => {
      const x = Math.floor((((p.x + s.az) % W) + W) % W), y = Math.floor(p.y + s.el);
      let dx = x - patch.x0; if (dx < 0) dx += W;
      const dy = y - patch.y0;
      return dx < patch.w && dy >= 0 && dy < patch.h && block.values[patch.offset + dy * patch.w + dx] > 0;
    });
  }

  draw() {
    const { ctx, desk } = this, dpr = window.devicePixelRatio || 1, t = desk.theme;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.fillStyle = t.panel; ctx.fillRect(0, 0, this.w, this.h);
    const top = this.toY(0), bottom = this.toY(H), wide = W * this.scale, copies = [-2, -1, 0, 1, 2].filter((k) => this.toX(k * W) < this.w && this.toX(k * W) + wide > 0);
    ctx.save(); ctx.beginPath(); ctx.rect(0, top, this.w, bottom - top); ctx.clip();
    const picture = desk.picture();
    ctx.fillStyle = "#14161c"; ctx.fillRect(0, top, this.w, bottom - top);
    for (const k of copies) {
      if (picture) ctx.drawImage(picture, this.toX(k * W), top, wide, bottom - top);
    }
    if (desk.showHeat && this.paintHeat()) {
      ctx.imageSmoothingEnabled = false; ctx.globalAlpha = 0.62;
      for (const k of copies) ctx.drawImage(this.heat.canvas, this.toX(k * W), top, wide, bottom - top);
      ctx.globalAlpha = 1; ctx.imageSmoothingEnabled = true;
    }
    this.graticule(copies);
    const shift = desk.shift, moved = shift.az || shift.el;
    if (desk.showOthers) for (const table of desk.moment ? desk.moment.tables : []) if (table !== "L") this.outlines("base", table, copies, { dash: [2, 3], width: 1.6, tag: table });
    if (desk.moment && desk.moment.version) this.outlines("base", "L", copies, { dash: [6, 4], width: 1.2, alpha: 0.75, only: "L" });
    this.outlines("work", "W", copies, { width: 1.5, tag: true });
    if (moved) this.outlines("work", "W", copies, { width: 2.4, targets: true, dx: -shift.az, dy: -shift.el, color: t.accent });
    this.metadata(copies); this.drafts(copies);
    ctx.restore();
    if (!picture) { ctx.fillStyle = "#c9ced8"; ctx.font = `12px ${t.font}`; ctx.fillText(desk.pictureMessage(), 10, Math.max(top, 0) + 18); }
  }
  paintHeat() {
    const block = this.desk.block("work"); if (!block) return false;
    const peak = compose(block, this.desk.frame, 0, () => true, this.field);
    const out = this.heat.pixels, lut = this.desk.lut;
    for (let i = 0; i < out.length; i++) { const v = this.field[i]; out[i] = v ? lut[v] : 0; }
    this.heat.flush();
    return peak > 0;
  }
  graticule(copies) {
    const { ctx } = this;
    ctx.strokeStyle = "rgba(255,255,255,.16)"; ctx.fillStyle = "rgba(255,255,255,.82)"; ctx.lineWidth = 1; ctx.font = `10.5px ${this.desk.theme.font}`;
    ctx.shadowColor = "#000"; ctx.beginPath();
    const step = this.view.z > 5 ? 10 : this.view.z > 2 ? 30 : 60;
    for (const k of copies) for (let az = -180; az < 180; az += step) { const x = Math.round(this.toX(180 - az + k * W)) + 0.5; ctx.moveTo(x, 0); ctx.lineTo(x, this.h); }
    for (let el = -60; el <= 60; el += this.view.z > 2 ? 15 : 30) { const y = Math.round(this.toY(90 - el)) + 0.5; ctx.moveTo(0, y); ctx.lineTo(this.w, y); }
    ctx.stroke(); ctx.shadowBlur = 3;
    const base = Math.min(this.toY(H), this.h) - 5;
    for (const k of copies) for (let az = -180; az < 180; az += step) {
      const words = az === -180 ? "±180°" : `${az}°`, x = this.toX(180 - az + k * W) + 3;
      if (x + ctx.measureText(words).width <= this.w) ctx.fillText(words, x, base); // not cut off at the edge
    }
    for (let el = -60; el <= 60; el += 30) ctx.fillText(`${el > 0 ? "+" : ""}${el}°`, 3, this.toY(90 - el) - 3);
    ctx.shadowBlur = 0;
  }
  outlines(kind, table, copies, { dash = [], width, tag, targets = false, dx = 0, dy = 0, color, alpha = 1, only }) {
    const { ctx, desk } = this, block = desk.block(kind); if (!block) return;
    const number = kind === "work" ? 0 : desk.moment.tables.indexOf(table), info = desk.rows[table];
    for (const p of block.frames[desk.frame - block.start]) {
      const patch = block.patch(p);
      if (patch.table !== number || patch.row < 0 || !info) continue;
      const k = info.at.get(patch.row), isTarget = kind === "work" && k !== undefined && info.target[k];
      if (targets && !isTarget) continue;
      const category = k === undefined ? -1 : info.category[k], ink = color || desk.color(category);
      ctx.setLineDash(dash); ctx.globalAlpha = alpha;
      let best = null;
      for (const line of block.outlines[p]) {
        for (const copy of [...copies, copies[0] - 1, copies[copies.length - 1] + 1]) {
          ctx.beginPath();
          for (let i = 0; i < line.length; i += 2) {
            const x = this.toX(line[i] + dx + copy * W), y = this.toY(line[i + 1] + dy);
            if (i) ctx.lineTo(x, y); else ctx.moveTo(x, y);
            if (!best || y < best[1]) if (x > 0 && x < this.w - 60) best = [x, y];
          }
          ctx.closePath();
          ctx.strokeStyle = "rgba(8,10,14,.75)"; ctx.lineWidth = width + (isTarget ? 3.4 : 2); ctx.stroke();
          ctx.strokeStyle = ink; ctx.lineWidth = isTarget && !color ? width + 1.4 : width; ctx.stroke();
        }
      }
      ctx.setLineDash([]); ctx.globalAlpha = 1;
      if (tag && best && !only) {
        const words = table === "W" ? `${desk.short(category)} #${info.instance[k]}` : `${tag} ${desk.short(category)} ${Number.isFinite(info.score[k]) ? info.score[k].toFixed(2) : ""}`;
        ctx.font = `${isTarget ? 600 : 500} 11px ${desk.theme.font}`;
        const w = ctx.measureText(words).width + 8, y = Math.max(best[1] - (table === "W" ? 19 : 5), 2), x = Math.min(Math.max(best[0] - w / 2, 2), this.w - w - 2);
        ctx.fillStyle = "rgba(10,12,17,.86)"; ctx.fillRect(x, table === "W" ? y : y + 8, w, 15);
        ctx.fillStyle = ink; ctx.fillRect(x, table === "W" ? y : y + 8, 3, 15);
        ctx.fillStyle = "#f2f4f8"; ctx.fillText(words, x + 6, (table === "W" ? y : y + 8) + 11);
      }
    }
  }
  metadata(copies) {
    const { ctx, desk } = this, m = desk.rows.M; if (!m) return;
    for (let k = 0; k < m.frame.length; k++) {
      if (m.frame[k] !== desk.frame) continue;
      for (const c of copies) {
        const x = this.toX(((180 - m.azimuth[k] + W) % W) + c * W), y = this.toY(90 - m.elevation[k]);
        for (const [ink, wide] of [["rgba(8,10,14,.85)", 4], [desk.color(m.category[k]), 2]]) {
          ctx.strokeStyle = ink; ctx.lineWidth = wide; ctx.beginPath();
          ctx.moveTo(x - 7, y); ctx.lineTo(x + 7, y); ctx.moveTo(x, y - 7); ctx.lineTo(x, y + 7); ctx.stroke();
        }
      }
    }
  }
  drafts(copies) {
    const { ctx, desk } = this, accent = desk.theme.accent;
    ctx.strokeStyle = accent; ctx.fillStyle = accent;
    const near = (x, from) => x - W * Math.round((x - from) / W);
    for (const shape of desk.shapes) for (const c of copies) {
      ctx.lineWidth = 2; ctx.setLineDash([]);
      if (shape.shape === "box") {
        const [x0, y0, x1, y1] = shape.box, right = x1 < x0 ? x1 + W : x1;
        const box = [this.toX(Math.floor(x0) + c * W), this.toY(Math.floor(y0)), (Math.floor(right) + 1 - Math.floor(x0)) * this.scale, (Math.floor(Math.min(y1, H - 1)) + 1 - Math.floor(y0)) * this.scale];
        ctx.globalAlpha = 0.18; ctx.fillRect(...box); ctx.globalAlpha = 1; ctx.strokeRect(...box);
      } else {
        ctx.beginPath();
        let last = shape.points[0][0];
        shape.points.forEach(([px, py], i) => { const x = i ? near(px, last) : px; last = x; const a = [this.toX(x + 0 + c * W), this.toY(py)]; if (i) ctx.lineTo(...a); else ctx.moveTo(...a); });
        if (shape.shape === "lasso") { ctx.closePath(); ctx.globalAlpha = 0.18; ctx.fill(); ctx.globalAlpha = 1; ctx.stroke(); }
        else {
          if (shape.points.length === 1) ctx.lineTo(this.toX(shape.points[0][0] + c * W) + 0.01, this.toY(shape.points[0][1]));
          ctx.lineCap = ctx.lineJoin = "round"; ctx.lineWidth = 2 * shape.radius * this.scale; ctx.globalAlpha = shape.shape === "erase" ? 0.5 : 0.25 + 0.4 * shape.energy;
          ctx.strokeStyle = shape.shape === "erase" ? "#000" : accent; ctx.stroke(); ctx.globalAlpha = 1; ctx.strokeStyle = accent; ctx.lineCap = "butt";
        }
      }
    }
    if ((desk.tool === "brush" || desk.tool === "erase") && this.hover) {
      ctx.lineWidth = 1.5; ctx.strokeStyle = "#fff"; ctx.beginPath(); ctx.arc(this.toX(this.hover.rawX), this.toY(this.hover.y), desk.radius * this.scale, 0, 7); ctx.stroke();
    }
  }
}

// Azimuth, elevation, energy and distance over time above the spectrogram; one time axis.
class Strips {
  constructor(desk, canvas) {
    this.desk = desk; this.canvas = canvas; this.ctx = canvas.getContext("2d");
    let down = false;
    const seek = (e) => { const r = canvas.getBoundingClientRect(), [a, b] = desk.window; desk.seek(Math.floor(a + ((e.clientX - r.left - this.left) / this.inner) * (b - a)), true); };
    canvas.addEventListener("pointerdown", (e) => { if (e.button !== 0) return; down = true; canvas.setPointerCapture(e.pointerId); desk.root.focus({ preventScroll: true }); seek(e); });
    canvas.addEventListener("pointermove", (e) => { if (down) seek(e); });
    canvas.addEventListener("pointerup", () => { down = false; desk.look(); });
    canvas.addEventListener("pointercancel", () => { down = false; });
  }
  resize(width, height) {
    const dpr = window.devicePixelRatio || 1;
    this.w = width; this.h = height; this.left = 58; this.inner = width - this.left - 6;
    Object.assign(this.canvas.style, { width: width + "px", height: height + "px" });
    this.canvas.width = Math.round(width * dpr); this.canvas.height = Math.round(height * dpr);
  }
  draw() {
    const { ctx, desk } = this, t = desk.theme, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0); ctx.clearRect(0, 0, this.w, this.h);
    if (!desk.moment) return;
    const [a, b] = desk.window, x = (frame) => this.left + ((frame - a) / (b - a)) * this.inner;
    const item = desk.item, gap = 5, axis = 15, each = (this.h - axis - 4 * gap) / 5.4;
    const bands = [
      { name: "azimuth", from: -180, to: 180, get: (r, k) => r.azimuth[k], h: each, ticks: [-90, 0, 90], unit: "°" },
      { name: "elevation", from: -90, to: 90, get: (r, k) => r.elevation[k], h: each, ticks: [-45, 0, 45], unit: "°" },
      { name: "energy", from: 0, to: 1.05, get: (r, k) => (r.energy ? r.energy[k] : NaN), h: each * 0.8, ticks: [0, 1], unit: "" },
      { name: "distance", from: 0, to: this.top(), get: (r, k) => r.distance[k], h: each * 0.9, ticks: [0, this.top() / 2], unit: "cm" },
    ];
    ctx.font = `10.5px ${t.font}`; ctx.textBaseline = "middle";
    let y0 = 0;
    for (const band of bands) {
      const y = (v) => y0 + band.h * (1 - (v - band.from) / (band.to - band.from));
      ctx.fillStyle = t.faint; ctx.fillRect(this.left, y0, this.inner, band.h);
      if (item) { ctx.fillStyle = t.mark; ctx.fillRect(x(item.start), y0, Math.max(x(item.end + 1) - x(item.start), 2), band.h); }
      ctx.strokeStyle = t.line; ctx.beginPath();
      for (const v of band.ticks) { ctx.moveTo(this.left, Math.round(y(v)) + 0.5); ctx.lineTo(this.w - 6, Math.round(y(v)) + 0.5); }
      ctx.stroke();
      ctx.fillStyle = t.dim; ctx.textAlign = "left"; ctx.fillText(band.name, 0, y0 + 7);
      ctx.textAlign = "right"; for (const v of band.ticks) if (y(v) > y0 + 14) ctx.fillText(`${v}${band.unit}`, this.left - 5, Math.min(y(v), y0 + band.h - 4));
      ctx.save(); ctx.beginPath(); ctx.rect(this.left, y0 - 2, this.inner, band.h + 4); ctx.clip();
      const size = Math.max(Math.min(this.inner / (b - a), 4), 1.6);
      if (desk.rows.M && band.name !== "energy") this.points(desk.rows.M, band, y, x, (k) => { ctx.fillStyle = desk.color(desk.rows.M.category[k]); ctx.globalAlpha = 0.4; return [size + 4, 2, 0]; });
      if (desk.showOthers) for (const table of desk.moment.tables) if (table !== "L") {
        const r = desk.rows[table];
        this.points(r, band, y, x, (k) => { ctx.strokeStyle = desk.color(r.category[k]); ctx.globalAlpha = 0.9; return [size, size, 1]; });
      }
      const w = desk.rows.W;
      if (w) for (const pass of [0, 1]) this.points(w, band, y, x, (k) => {
        if (w.target[k] !== pass) return null;
        ctx.fillStyle = desk.color(w.category[k]); ctx.globalAlpha = 1;
        if (pass) { ctx.strokeStyle = t.fg; ctx.lineWidth = 1; return [size + 2, size + 2, 2]; }
        return [size, size, 0];
      });
      ctx.globalAlpha = 1; ctx.restore();
      y0 += band.h + gap;
    }
    const h = this.h - axis - y0;
    ctx.fillStyle = "#000"; ctx.fillRect(this.left, y0, this.inner, h);
    if (desk.spectrogram) { ctx.imageSmoothingEnabled = true; ctx.drawImage(desk.spectrogram, this.left, y0, this.inner, h); }
    else { ctx.fillStyle = "#c9ced8"; ctx.textAlign = "left"; ctx.fillText((desk.moment.messages || {}).audio || "No sound.", this.left + 8, y0 + h / 2); }
    ctx.fillStyle = t.dim; ctx.textAlign = "left"; ctx.fillText("sound", 0, y0 + 7);
    ctx.textAlign = "right"; ctx.fillText("12 kHz", this.left - 5, y0 + 20); ctx.fillText("60 Hz", this.left - 5, y0 + h - 5);
    if (item) { ctx.strokeStyle = "rgba(255,255,255,.6)"; ctx.strokeRect(x(item.start) + 0.5, y0 + 0.5, Math.max(x(item.end + 1) - x(item.start) - 1, 2), h - 1); }
    ctx.fillStyle = t.dim; ctx.textAlign = "center"; ctx.textBaseline = "alphabetic";
    const steps = [5, 10, 20, 50, 100].find((s) => ((b - a) / s) <= 14) || 100;
    for (let f = Math.ceil(a / steps) * steps; f < b; f += steps) ctx.fillText(`${(f / 10).toFixed(steps % 10 ? 1 : 0)} s`, x(f), this.h - 2);
    const cx = Math.round(x(desk.frame + 0.5)) + 0.5;
    ctx.strokeStyle = t.fg; ctx.lineWidth = 1.5; ctx.beginPath(); ctx.moveTo(cx, 0); ctx.lineTo(cx, this.h - axis); ctx.stroke();
  }
  top() {
    let most = 100;
    for (const r of Object.values(this.desk.rows)) if (r && r.distance) for (const d of r.distance) if (d > most) most = d;
    return Math.ceil(most / 200) * 200;
  }
  points(r, band, y, x, style) {
    const { ctx } = this;
    for (let k = 0; k < r.frame.length; k++) {
      const v = band.get(r, k); if (!Number.isFinite(v)) continue;
      const s = style(k); if (!s) continue;
      const [w, h, kind] = s, px = x(r.frame[k] + 0.5) - w / 2, py = y(v) - h / 2;
      if (kind === 1) { ctx.lineWidth = 1; ctx.strokeRect(px, py, w, h); } else { ctx.fillRect(px, py, w, h); if (kind === 2) ctx.strokeRect(px, py, w, h); }
    }
  }
}
