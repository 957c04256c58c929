// One equirectangular panel: picture, axes, graticule, outlines, tags, crosshair.

const MARGIN = { left: 32, right: 4, top: 1, bottom: 17 };
const AZ_STEPS = [5, 10, 15, 30, 60, 90], EL_STEPS = [5, 10, 15, 30, 45];

class Panel {
  constructor(player, kind) {
    this.player = player; this.kind = kind;
    this.box = document.createElement("div");
    this.box.className = "panel"; this.box.dataset.kind = kind;
    const head = document.createElement("div"); head.className = "ph";
    this.key = document.createElement("button"); this.key.className = "k";
    this.title = document.createElement("span"); this.title.className = "t";
    this.sub = document.createElement("span"); this.sub.className = "s";
    this.scale = document.createElement("canvas");
    head.append(this.key, this.title, this.sub, this.scale);
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.ctx = this.canvas.getContext("2d");
    this.box.append(head, this.canvas);
    this.raster = new Raster();
    this.key.onclick = () => player.maximise(this.kind);
    this.bind();
  }

  place(x, y, width, height) { // height of the canvas without the title
    const dpr = window.devicePixelRatio || 1;
    Object.assign(this.box.style, { left: x + "px", top: y + "px", width: width + "px" });
    this.width = width; this.height = height;
    this.canvas.style.width = width + "px"; this.canvas.style.height = height + "px";
    this.canvas.width = Math.round(width * dpr); this.canvas.height = Math.round(height * dpr);
    this.plot = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
  }

  get pxPerDeg() { return (this.plot.w / W) * this.player.view.z; }
  toX(x) { return this.plot.x + this.plot.w / 2 + (x - this.player.view.x) * this.pxPerDeg; }
  toY(y) { return this.plot.y + this.plot.h / 2 + (y - this.player.view.y) * this.pxPerDeg; }
  // Canvas coordinates (label grid; x in [0, 360)) under a point of the element, or null outside of the plot.
  at(px, py) {
    const { plot } = this;
    if (px < plot.x || py < plot.y || px >= plot.x + plot.w || py >= plot.y + plot.h) return null;
    const s = this.pxPerDeg, v = this.player.view;
    const x = v.x + (px - plot.x - plot.w / 2) / s, y = v.y + (py - plot.y - plot.h / 2) / s;
    if (y < 0 || y >= H) return null;
    return { x: ((x % W) + W) % W, y };
  }

  bind() {
    const c = this.canvas;
    let drag = null;
    c.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      drag = { x: e.clientX, y: e.clientY, moved: false };
      c.setPointerCapture(e.pointerId);
      this.player.focus();
    });
    c.addEventListener("pointermove", (e) => {
      const r = c.getBoundingClientRect();
      if (drag) {
        const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
        if (!drag.moved && Math.hypot(dx, dy) < 3) return;
        drag.moved = true; this.box.classList.add("drag");
        this.player.pan(-dx / this.pxPerDeg, -dy / this.pxPerDeg);
        drag.x = e.clientX; drag.y = e.clientY;
      } else this.player.hover(this.at(e.clientX - r.left, e.clientY - r.top), this);
    });
    const up = (e) => {
      if (!drag) return;
      const moved = drag.moved; drag = null; this.box.classList.remove("drag");
      if (!moved && e.type === "pointerup") {
        const r = c.getBoundingClientRect();
        this.player.pick(this.at(e.clientX - r.left, e.clientY - r.top), this);
      }
    };
    c.addEventListener("pointerup", up); c.addEventListener("pointercancel", up);
    c.addEventListener("pointerleave", () => this.player.hover(null, this));
    c.addEventListener("dblclick", () => this.player.resetView());
    c.addEventListener("wheel", (e) => {
      e.preventDefault();
      const r = c.getBoundingClientRect();
      this.player.zoomAt(Math.exp(-e.deltaY * 0.0016), this.at(e.clientX - r.left, e.clientY - r.top));
    }, { passive: false });
  }

  // source: drawable on the whole canvas; over: second drawable with an alpha; light: the ground is light
  draw({ source, over, overAlpha = 1, message, outlines = [], tags = true, light = false, smooth = true }) {
    const { ctx, plot, player } = this, theme = player.theme, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.width, this.height);
    ctx.save();
    ctx.beginPath(); ctx.rect(plot.x, plot.y, plot.w, plot.h); ctx.clip();
    ctx.fillStyle = theme.panel; ctx.fillRect(plot.x, plot.y, plot.w, plot.h);
    const s = this.pxPerDeg, v = player.view, half = plot.w / 2 / s;
    const first = Math.floor((v.x - half) / W), last = Math.floor((v.x + half) / W);
    const blit = (image) => {
      for (let k = first; k <= last; k++) ctx.drawImage(image, this.toX(k * W), this.toY(0), W * s, H * s);
    };
    ctx.imageSmoothingEnabled = smooth && v.z < 4; ctx.imageSmoothingQuality = "low";
    if (source && !message) blit(source);
    if (over && !message) { ctx.globalAlpha = overAlpha; blit(over); ctx.globalAlpha = 1; }
    this.graticule(light && !over);
    if (message) this.message(message);
    else {
      this.lines(outlines, first, last, light);
      if (tags) this.tags(outlines, first, last);
    }
    if (player.cursor) this.cross(player.cursor, first, last, light);
    ctx.restore();
    ctx.strokeStyle = theme.line; ctx.lineWidth = 1;
    ctx.strokeRect(plot.x - 0.5, plot.y - 0.5, plot.w + 1, plot.h + 1);
    this.axes();
  }

  ticks() {
    const s = this.pxPerDeg, v = this.player.view, { plot } = this;
    const azStep = AZ_STEPS.find((d) => d * s >= 46) || 90, elStep = EL_STEPS.find((d) => d * s >= 24) || 45;
    const az = [], el = [];
    const x0 = v.x - plot.w / 2 / s, x1 = v.x + plot.w / 2 / s;
    for (let x = Math.ceil((x0 - 180) / azStep - 1e-6) * azStep + 180; x <= x1 + 1e-6; x += azStep) {
      let a = 180 - x; a = ((((a + 180) % 360) + 360) % 360) - 180;
      az.push({ p: this.toX(x), text: a === -180 ? "±180°" : a === 0 ? "0°" : (a > 0 ? "+" : "−") + Math.abs(a) + "°" });
    }
    for (let e = -90; e <= 90; e += elStep) {
      const p = this.toY(90 - e);
      if (p >= plot.y - 1 && p <= plot.y + plot.h + 1) el.push({ p, text: e === 0 ? "0°" : (e > 0 ? "+" : "−") + Math.abs(e) + "°" });
    }
    return { az, el };
  }

  graticule(light) {
    const { ctx, plot } = this, { az, el } = this.ticks();
    ctx.strokeStyle = light ? "rgba(0,0,0,.09)" : "rgba(255,255,255,.13)"; ctx.lineWidth = 1;
    ctx.beginPath();
    for (const t of az) { const x = Math.round(t.p) + 0.5; ctx.moveTo(x, plot.y); ctx.lineTo(x, plot.y + plot.h); }
    for (const t of el) { const y = Math.round(t.p) + 0.5; ctx.moveTo(plot.x, y); ctx.lineTo(plot.x + plot.w, y); }
    ctx.stroke();
  }

  axes() {
    const { ctx, plot, player } = this, { az, el } = this.ticks();
    ctx.font = `10.5px ${player.theme.font}`; ctx.fillStyle = player.theme.dim;
    ctx.textBaseline = "top"; ctx.textAlign = "center";
    for (const t of az) {
      const w = ctx.measureText(t.text).width / 2;
      ctx.fillText(t.text, Math.min(Math.max(t.p, plot.x + w - 8), plot.x + plot.w - w + 2), plot.y + plot.h + 4);
    }
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const t of el) ctx.fillText(t.text, plot.x - 4, Math.min(Math.max(t.p, plot.y + 5), plot.y + plot.h - 5));
  }

  path(line, k) {
    const { ctx } = this;
    ctx.moveTo(this.toX(line[0] + k * W), this.toY(line[1]));
    for (let i = 2; i < line.length; i += 2) ctx.lineTo(this.toX(line[i] + k * W), this.toY(line[i + 1]));
    ctx.closePath();
  }

  lines(outlines, first, last, light) {
    const { ctx } = this;
    ctx.lineJoin = "round";
    for (const o of outlines) {
      ctx.beginPath();
      for (const line of o.lines) {
        for (let k = first - 1; k <= last; k++) {
          if (line.length > 2) this.path(line, k);
          else { const x = this.toX(line[0] + k * W), y = this.toY(line[1]); ctx.moveTo(x + 4, y); ctx.arc(x, y, 4, 0, 7); }
        }
      }
      ctx.setLineDash([]);
      ctx.strokeStyle = light ? "rgba(255,255,255,.75)" : "rgba(0,0,0,.6)"; ctx.lineWidth = 3.4; ctx.stroke();
      ctx.setLineDash(o.dash ? [5, 3] : []);
      ctx.strokeStyle = light ? o.color : o.bright; ctx.lineWidth = 1.7; ctx.stroke();
    }
    ctx.setLineDash([]);
  }

  // Tags stand beside their region, where they hide no earlier tag and as little as possible of other regions. A region
  // over the seam is seen at both ends and named once, where more of it is in sight.
  tags(outlines, first, last) {
    const { ctx, plot, player } = this, placed = [], regions = [], narrow = plot.w < 330;
    ctx.font = `500 11px ${player.theme.font}`; ctx.textBaseline = "middle"; ctx.textAlign = "left";
    for (const o of outlines) {
      if (!o.lines.length) continue;
      let x0 = 1e9, x1 = -1e9, y0 = 1e9, y1 = -1e9;
      for (const line of o.lines) for (let i = 0; i < line.length; i += 2) {
        x0 = Math.min(x0, line[i]); x1 = Math.max(x1, line[i]); y0 = Math.min(y0, line[i + 1]); y1 = Math.max(y1, line[i + 1]);
      }
      let named = null, most = -1;
      for (let k = first - 1; k <= last; k++) {
        const r = { a: this.toX(x0 + k * W), b: this.toX(x1 + k * W), t: this.toY(y0), u: this.toY(y1), o };
        if (r.b < plot.x || r.a > plot.x + plot.w || r.u < plot.y || r.t > plot.y + plot.h) continue;
        const seen = Math.min(r.b, plot.x + plot.w) - Math.max(r.a, plot.x);
        regions.push(r); if (seen > most) { most = seen; named = r; }
      }
      if (named) named.named = true;
    }
    const overlap = (x, y, w, h, a, t, b, u) => Math.max(0, Math.min(x + w, b) - Math.max(x, a)) * Math.max(0, Math.min(y + h, u) - Math.max(y, t));
    for (const { a, b, t, u, o, named } of regions) {
      const text = narrow ? o.brief : o.tag; if (!named || !text || !o.tag) continue;
      const w = Math.ceil(ctx.measureText(text).width) + 15, h = 17, m = (a + b) / 2;
      const spots = [[m - w / 2, t - h - 3], [m - w / 2, u + 3], [b + 3, (t + u - h) / 2], [a - w - 3, (t + u - h) / 2],
        [a, t - 2 * h - 5], [b - w, u + h + 5], [m - w / 2, t - 3 * h - 7], [m - w / 2, u + 2 * h + 7]];
      let best = null, least = 1e9;
      for (const [sx, sy] of spots) {
        const x = Math.min(Math.max(sx, plot.x + 2), plot.x + plot.w - w - 2);
        const y = Math.min(Math.max(sy, plot.y + 2), plot.y + plot.h - h - 2);
        let cost = Math.abs(x - sx) + Math.abs(y - sy);
        for (const r of placed) cost += overlap(x, y, w, h, r.x, r.y, r.x + r.w, r.y + r.h) * 4;
        for (const r of regions) cost += overlap(x, y, w, h, r.a, r.t, r.b, r.u) * 0.6;
        if (cost < least) { least = cost; best = { x, y, w, h }; if (cost === 0) break; }
      }
      if (least > 2500) continue; // better no tag than an unreadable heap: the list names every source
      placed.push(best);
      ctx.fillStyle = "rgba(12,14,20,.82)";
      ctx.beginPath(); ctx.roundRect(best.x, best.y, w, h, 3.5); ctx.fill();
      ctx.fillStyle = o.bright; ctx.fillRect(best.x + 4, best.y + 4, 3, h - 8);
      ctx.fillStyle = "#f4f5f7"; ctx.fillText(text, best.x + 11, best.y + h / 2 + 0.5);
    }
  }

  cross(c, first, last, light) {
    const { ctx, plot } = this, y = Math.round(this.toY(c.y)) + 0.5;
    ctx.strokeStyle = light ? "rgba(0,0,0,.55)" : "rgba(255,255,255,.75)"; ctx.lineWidth = 1; ctx.setLineDash([3, 3]);
    ctx.beginPath(); ctx.moveTo(plot.x, y); ctx.lineTo(plot.x + plot.w, y);
    for (let k = first; k <= last; k++) { const x = Math.round(this.toX(c.x + k * W)) + 0.5; ctx.moveTo(x, plot.y); ctx.lineTo(x, plot.y + plot.h); }
    ctx.stroke(); ctx.setLineDash([]);
  }

  message(text) {
    const { ctx, plot, player } = this;
    ctx.fillStyle = player.theme.panel; ctx.globalAlpha = 0.85; ctx.fillRect(plot.x, plot.y, plot.w, plot.h); ctx.globalAlpha = 1;
    ctx.font = `13px ${player.theme.font}`; ctx.fillStyle = player.theme.dim; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    const lines = [];
    for (const part of text.split("\n")) {
      let line = "";
      for (const word of part.split(" ")) {
        if (line && ctx.measureText(line + " " + word).width > plot.w - 40) { lines.push(line); line = word; } else line = line ? line + " " + word : word;
      }
      lines.push(line);
    }
    lines.forEach((line, i) => ctx.fillText(line, plot.x + plot.w / 2, plot.y + plot.h / 2 + (i - (lines.length - 1) / 2) * 19));
  }

  // Colour scale in the title row.
  legend(lut, ticks) {
    const c = this.scale, dpr = window.devicePixelRatio || 1, theme = this.player.theme;
    const w = lut ? 150 : 0, h = 20;
    c.style.width = w + "px"; c.style.height = h + "px"; c.width = w * dpr; c.height = h * dpr;
    if (!lut) return;
    const ctx = c.getContext("2d"); ctx.scale(dpr, dpr);
    const x0 = 26, n = 98;
    for (let i = 0; i < n; i++) {
      const v = lut[Math.round((i / (n - 1)) * (lut.length - 1))];
      ctx.fillStyle = `rgb(${v & 255},${(v >> 8) & 255},${(v >> 16) & 255})`; ctx.fillRect(x0 + i, 6, 1.5, 8);
    }
    ctx.strokeStyle = theme.line; ctx.strokeRect(x0 - 0.5, 5.5, n + 1.5, 9);
    ctx.font = `10.5px ${theme.font}`; ctx.fillStyle = theme.dim; ctx.textBaseline = "middle";
    ctx.textAlign = "right"; ctx.fillText(ticks[0], x0 - 4, 10.5); ctx.textAlign = "left"; ctx.fillText(ticks[1], x0 + n + 5, 10.5);
  }
}
