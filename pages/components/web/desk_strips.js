// @ts-check
// Azimuth, elevation, energy and distance over time above the spectrogram; one time axis.
export class Strips {
  /** @param {import("./desk.js").Desk} desk @param {HTMLCanvasElement} canvas */
  constructor(desk, canvas) {
    this.desk = desk;
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    let down = false;
    const seek = (e) => {
      const r = canvas.getBoundingClientRect(), [a, b] = desk.window;
      desk.seek(Math.floor(a + ((e.clientX - r.left - this.left) / this.inner) * (b - a)), true);
    };
    canvas.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      down = true;
      canvas.setPointerCapture(e.pointerId);
      desk.focus();
      seek(e);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (down) seek(e);
    });
    canvas.addEventListener("pointerup", () => {
      down = false;
      desk.reach();
    });
    canvas.addEventListener("pointercancel", () => {
      down = false;
    });
  }
  resize(width, height) {
    const dpr = window.devicePixelRatio || 1;
    this.w = width;
    this.h = height;
    this.left = 58;
    this.inner = width - this.left - 6;
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.canvas.width = Math.round(width * dpr);
    this.canvas.height = Math.round(height * dpr);
  }
  draw() {
    const { ctx, desk } = this, t = desk.theme, dpr = window.devicePixelRatio || 1;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.w, this.h);
    if (!desk.moment) return;
    const [a, b] = desk.window, x = (frame) => this.left + ((frame - a) / (b - a)) * this.inner;
    const item = desk.item, gap = 5, axis = 15, each = (this.h - axis - 4 * gap) / 5.4;
    const bands = [
      {
        name: "azimuth",
        from: -180,
        to: 180,
        get: (r, k) => r.azimuth[k],
        h: each,
        ticks: [-90, 0, 90],
        unit: "°",
      },
      {
        name: "elevation",
        from: -90,
        to: 90,
        get: (r, k) => r.elevation[k],
        h: each,
        ticks: [-45, 0, 45],
        unit: "°",
      },
      {
        name: "energy",
        from: 0,
        to: 1.05,
        get: (r, k) => (r.peak ? r.peak[k] : NaN),
        h: each * 0.8,
        ticks: [0, 1],
        unit: "",
      },
      {
        name: "distance",
        from: 0,
        to: this.top(),
        get: (r, k) => r.distance[k],
        h: each * 0.9,
        ticks: [0, this.top() / 2],
        unit: "cm",
      },
    ];
    ctx.font = `10.5px ${t.font}`;
    ctx.textBaseline = "middle";
    let y0 = 0;
    for (const band of bands) {
      const y = (v) => y0 + band.h * (1 - (v - band.from) / (band.to - band.from));
      ctx.fillStyle = t.faint;
      ctx.fillRect(this.left, y0, this.inner, band.h);
      if (item) {
        ctx.fillStyle = t.mark;
        ctx.fillRect(x(item.start), y0, Math.max(x(item.end + 1) - x(item.start), 2), band.h);
      }
      ctx.strokeStyle = t.line;
      ctx.beginPath();
      for (const v of band.ticks) {
        ctx.moveTo(this.left, Math.round(y(v)) + 0.5);
        ctx.lineTo(this.w - 6, Math.round(y(v)) + 0.5);
      }
      ctx.stroke();
      ctx.fillStyle = t.dim;
      ctx.textAlign = "left";
      ctx.fillText(band.name, 0, y0 + 7);
      ctx.textAlign = "right";
      for (const v of band.ticks) {
        if (y(v) > y0 + 14) ctx.fillText(`${v}${band.unit}`, this.left - 5, Math.min(y(v), y0 + band.h - 4));
      }
      ctx.save();
      ctx.beginPath();
      ctx.rect(this.left, y0 - 2, this.inner, band.h + 4);
      ctx.clip();
      const size = Math.max(Math.min(this.inner / (b - a), 4), 1.6);
      if (desk.rows.M && band.name !== "energy") {
        this.points(desk.rows.M, band, y, x, (k) => {
          ctx.fillStyle = desk.color(desk.rows.M.category[k]);
          ctx.globalAlpha = 0.4;
          return [size + 4, 2, 0];
        });
      }
      if (desk.showOthers) {
        for (const table of desk.moment.tables) {
          if (table !== "L") {
            const r = desk.rows[table];
            this.points(r, band, y, x, (k) => {
              ctx.strokeStyle = desk.color(r.category[k]);
              ctx.globalAlpha = 0.9;
              return [size, size, 1];
            });
          }
        }
      }
      if (desk.fills) {
        this.points(desk.rows.P, band, y, x, () => {
          ctx.strokeStyle = t.accent;
          ctx.globalAlpha = 1;
          return [size + 1, size + 1, 1];
        });
      }
      const w = desk.rows.W;
      if (w) {
        for (const pass of [0, 1]) {
          this.points(w, band, y, x, (k) => {
            if (w.target[k] !== pass) return null;
            ctx.fillStyle = desk.color(w.category[k]);
            ctx.globalAlpha = 1;
            if (pass) {
              ctx.strokeStyle = t.fg;
              ctx.lineWidth = 1;
              return [size + 2, size + 2, 2];
            }
            return [size, size, 0];
          });
        }
      }
      ctx.globalAlpha = 1;
      ctx.restore();
      y0 += band.h + gap;
    }
    const h = this.h - axis - y0;
    ctx.fillStyle = "#000";
    ctx.fillRect(this.left, y0, this.inner, h);
    if (desk.moments.spectrogram) {
      ctx.imageSmoothingEnabled = true;
      ctx.drawImage(desk.moments.spectrogram, this.left, y0, this.inner, h);
    } else {
      ctx.fillStyle = "#c9ced8";
      ctx.textAlign = "left";
      const none = (desk.moment.messages || {}).audio || "No sound.";
      ctx.fillText(desk.moment.spectrogram ? "Loading …" : none, this.left + 8, y0 + h / 2);
    }
    ctx.fillStyle = t.dim;
    ctx.textAlign = "left";
    ctx.fillText("sound", 0, y0 + 7);
    ctx.textAlign = "right";
    ctx.fillText("12 kHz", this.left - 5, y0 + 20);
    ctx.fillText("60 Hz", this.left - 5, y0 + h - 5);
    if (item) {
      ctx.strokeStyle = "rgba(255,255,255,.6)";
      ctx.strokeRect(x(item.start) + 0.5, y0 + 0.5, Math.max(x(item.end + 1) - x(item.start) - 1, 2), h - 1);
    }
    ctx.fillStyle = t.dim;
    ctx.textAlign = "center";
    ctx.textBaseline = "alphabetic";
    const fps = desk.moment.frame_rate_hz;
    const steps = [5, 10, 20, 50, 100].find((s) => (b - a) / s <= 14) || 100;
    for (let f = Math.ceil(a / steps) * steps; f < b; f += steps) {
      ctx.fillText(`${(f / fps).toFixed(steps % fps ? 1 : 0)} s`, x(f), this.h - 2);
    }
    const cx = Math.round(x(desk.frame + 0.5)) + 0.5;
    ctx.strokeStyle = t.fg;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.moveTo(cx, 0);
    ctx.lineTo(cx, this.h - axis);
    ctx.stroke();
  }
  top() {
    let most = 100;
    for (const r of Object.values(this.desk.rows)) {
      if (r && r.distance) for (const d of r.distance) if (d > most) most = d;
    }
    return Math.ceil(most / 200) * 200;
  }
  points(r, band, y, x, style) {
    const { ctx } = this;
    for (let k = 0; k < r.frame.length; k++) {
      const v = band.get(r, k);
      if (!Number.isFinite(v)) continue;
      const s = style(k);
      if (!s) continue;
      const [w, h, kind] = s, px = x(r.frame[k] + 0.5) - w / 2, py = y(v) - h / 2;
      if (kind === 1) {
        ctx.lineWidth = 1;
        ctx.strokeRect(px, py, w, h);
      } else {
        ctx.fillRect(px, py, w, h);
        if (kind === 2) ctx.strokeRect(px, py, w, h);
      }
    }
  }
}
