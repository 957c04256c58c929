// @ts-check
// The view in the address: ?frame=N&view=x..._y..._z..._g..._w_p..._l..._s..._r..._h..._o...

import { readFilter, writtenFilter } from "./events.js";
import { readGaze, writtenGaze } from "./gaze.js";
import { clamp, wrap } from "./geometry.js";
import { readHeard, writtenHeard } from "./heard.js";

/**
 * @typedef {{table: string, category: number, instance: number}} Source
 * @typedef {object} View
 * @property {number} [frame]
 * @property {import("./geometry.js").Camera} camera
 * @property {import("./gaze.js").Gaze | null} gaze  Where one looks from inside the sphere; two ears turn with it.
 * @property {boolean} [looking]  The panel that shows it is on; undefined where the address does not say.
 * @property {string | null} max  The one panel that is shown.
 * @property {string} [layout]
 * @property {Source | null} isolate
 * @property {[number, number] | null} loop
 * @property {string} [overlay]
 * @property {import("./heard.js").Heard | null} [heard]
 * @property {import("./events.js").EventFilter | null} [filter]
 */

/**
 * What an address says of the view; null when it says nothing.
 * @param {string} search @param {readonly string[]} layouts @param {import("./geometry.js").Size} size
 * @returns {View | null}
 */
export function readView(search, layouts, size, maxZoom = 24) {
  const query = new URLSearchParams(search), frame = Number(query.get("frame"));
  if (!query.has("frame") && !query.has("view")) return null;
  const { width, height } = size;
  /** @type {View} */
  const view = { camera: { x: width / 2, y: height / 2, z: 1 }, gaze: null, max: null, isolate: null, loop: null };
  if (query.has("view")) view.looking = false;
  if (query.get("frame") && Number.isFinite(frame)) view.frame = Math.max(0, Math.floor(frame));
  for (const part of (query.get("view") || "").split("_")) {
    const key = part[0], value = part.slice(1), n = Number(value);
    if (key === "x" && Number.isFinite(n)) view.camera.x = wrap(n, width);
    else if (key === "y" && Number.isFinite(n)) view.camera.y = clamp(n, 0, height);
    else if (key === "z" && n >= 1 && n <= maxZoom) view.camera.z = n;
    else if (key === "g") view.gaze = readGaze(value);
    else if (part === "w") view.looking = true;
    else if (key === "p" && /^[a-zA-Z]+$/.test(value)) view.max = value;
    else if (key === "l" && layouts.includes(value)) view.layout = value;
    else if (key === "o" && /^(none|[A-Z]|ac\.\w+)$/.test(value)) view.overlay = value;
    else if (key === "h") view.heard = readHeard(value);
    else if (key === "e") view.filter = readFilter(value);
    else if (key === "s") {
      const [table, category, instance] = value.split(".");
      if (/^[A-Z]$/.test(table) && instance !== undefined) {
        view.isolate = { table, category: Number(category), instance: Number(instance) };
      }
    } else if (key === "r" && /^\d+\.\d+$/.test(value)) {
      const [a, b] = value.split(".").map(Number);
      if (b > a) view.loop = [a, b];
    }
  }
  const half = height / 2 / view.camera.z;
  view.camera.y = clamp(view.camera.y, half, height - half);
  return view;
}

/**
 * An address with a view in it.
 * @param {string} href @param {View} view @param {import("./geometry.js").Size} size
 */
export function withView(href, view, size) {
  const { frame, camera, gaze, looking, max, layout, isolate, loop, overlay, filter, heard } = view;
  const url = new URL(href), parts = [];
  if (camera.z > 1 || camera.x !== size.width / 2) {
    parts.push(`x${camera.x.toFixed(1)}`, `y${camera.y.toFixed(1)}`, `z${camera.z.toFixed(2)}`);
  }
  if (gaze) parts.push(`g${writtenGaze(gaze)}`);
  if (looking) parts.push("w");
  if (max) parts.push(`p${max}`);
  if (layout) parts.push(`l${layout}`);
  if (isolate) parts.push(`s${isolate.table}.${isolate.category}.${isolate.instance}`);
  if (loop) parts.push(`r${loop.join(".")}`);
  if (filter && writtenFilter(filter)) parts.push(`e${writtenFilter(filter)}`);
  if (heard && writtenHeard(heard)) parts.push(`h${writtenHeard(heard)}`);
  parts.push(`o${overlay}`);
  url.searchParams.set("frame", String(frame));
  url.searchParams.set("view", parts.join("_"));
  return url.href;
}

/**
 * Whether an address is that of a place (parameters; null: must not be there). Between a choice in the bar and what it
 * shows it is not.
 * @param {string} search @param {Record<string, string | null> | undefined} place
 */
export function isAt(search, place) {
  const query = new URLSearchParams(search);
  return Object.entries(place || {}).every(([name, value]) => query.get(name) === value);
}

/**
 * Open a page of the app as one step of the browser's history, without loading the app anew.
 * @param {string} href @param {boolean} replace  The page that is left is not to be returned to.
 */
export function openPage(href, replace = false) {
  const url = new URL(href, location.href);
  if (replace) history.replaceState({}, "", url);
  else history.pushState({}, "", url);
  window.dispatchEvent(new PopStateEvent("popstate", { state: {} })); // Streamlit opens the page that the address names
}

/** A link with a frame in it. @param {string} href @param {number} frame */
export function withFrame(href, frame) {
  const url = new URL(href, location.href);
  url.searchParams.set("frame", String(frame));
  return url.href;
}

/** Change the address alone, without a reload or a rerun. @param {string} href */
export function replaceAddress(href) {
  if (href !== location.href) history.replaceState(history.state, "", href);
}

/** The same as a step of the browser's history, to which Back returns. @param {string} href */
export function stepAddress(href) {
  if (href !== location.href) history.pushState({}, "", href);
}
