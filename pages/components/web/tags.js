// @ts-check
// Names of regions on a view.

/**
 * @typedef {object} Region  What a region covers on the screen.
 * @property {number} a  Left.
 * @property {number} b  Right.
 * @property {number} t  Top.
 * @property {number} u  Bottom.
 * @property {import("./panel.js").Outline} o
 * @property {boolean} named  It has its tag here.
 */

/**
 * Tags stand beside their region, where they hide no earlier tag and as little as possible of other regions.
 * @param {CanvasRenderingContext2D} ctx @param {{x: number, y: number, w: number, h: number}} plot
 * @param {string} font @param {Region[]} regions
 */
export function drawTags(ctx, plot, font, regions) {
  const placed = [], narrow = plot.w < 330;
  ctx.font = `500 11px ${font}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  const overlap = (x, y, w, h, a, t, b, u) =>
    Math.max(0, Math.min(x + w, b) - Math.max(x, a)) * Math.max(0, Math.min(y + h, u) - Math.max(y, t));
  for (const { a, b, t, u, o, named } of regions) {
    const text = narrow ? o.brief : o.tag;
    if (!named || !text || !o.tag) continue;
    const w = Math.ceil(ctx.measureText(text).width) + 15, h = 17, m = (a + b) / 2;
    const spots = [
      [m - w / 2, t - h - 3],
      [m - w / 2, u + 3],
      [b + 3, (t + u - h) / 2],
      [a - w - 3, (t + u - h) / 2],
      [a, t - 2 * h - 5],
      [b - w, u + h + 5],
      [m - w / 2, t - 3 * h - 7],
      [m - w / 2, u + 2 * h + 7],
    ];
    let best = null, least = 1e9;
    for (const [sx, sy] of spots) {
      const x = Math.min(Math.max(sx, plot.x + 2), plot.x + plot.w - w - 2);
      const y = Math.min(Math.max(sy, plot.y + 2), plot.y + plot.h - h - 2);
      let cost = Math.abs(x - sx) + Math.abs(y - sy);
      for (const r of placed) cost += overlap(x, y, w, h, r.x, r.y, r.x + r.w, r.y + r.h) * 4;
      for (const r of regions) cost += overlap(x, y, w, h, r.a, r.t, r.b, r.u) * 0.6;
      if (cost < least) {
        least = cost;
        best = { x, y, w, h };
        if (cost === 0) break;
      }
    }
    if (least > 2500) continue; // better no tag than an unreadable heap: the list names every source
    placed.push(best);
    ctx.fillStyle = "rgba(12,14,20,.82)";
    ctx.beginPath();
    ctx.roundRect(best.x, best.y, w, h, 3.5);
    ctx.fill();
    ctx.fillStyle = o.bright;
    ctx.fillRect(best.x + 4, best.y + 4, 3, h - 8);
    ctx.fillStyle = "#f4f5f7";
    ctx.fillText(text, best.x + 11, best.y + h / 2 + 0.5);
  }
}
