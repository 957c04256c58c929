// @ts-check
// Streamlit's theme as colours for a canvas.

/** @param {string} colour @returns {number[]} Red, green, blue. */
function rgb(colour) {
  // through a canvas, so that any CSS colour can be measured
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

/** @param {number[]} colour */
function luminance([r, g, b]) {
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

/** @param {HTMLElement} root */
export function readTheme(root) {
  const style = getComputedStyle(root);
  const get = (/** @type {string} */ name, /** @type {string} */ otherwise) =>
    style.getPropertyValue(name).trim() || otherwise;
  const fg = get("--st-text-color", "#222"), bg = get("--st-background-color", "#fff");
  const accent = get("--st-primary-color", "#4c8dff"), f = rgb(fg), b = rgb(bg), a = rgb(accent);
  const mix = (/** @type {number} */ t) => `rgb(${f.map((v, i) => Math.round(v * t + b[i] * (1 - t))).join(",")})`;
  const dark = luminance(b) < 0.5;
  return {
    dark, fg, bg, accent,
    dim: mix(0.7), line: mix(0.18), faint: mix(0.06), mark: `rgba(${a.join(",")},.16)`,
    panel: get("--st-secondary-background-color", "#eee"),
    ground: rgb(get("--st-secondary-background-color", "#eee")),
    onAccent: luminance(a) > 0.47 ? "#0b0e14" : "#ffffff",
    font: get("--st-font", "sans-serif"),
    errors: dark ? ["#f5b83d", "#ff6b6b", "#c08bff"] : ["#955800", "#cf222e", "#7a3fd0"],
    key: fg + bg + accent,
  };
}
