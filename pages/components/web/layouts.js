// @ts-check
// Which panels there are, and where they stand: no panel for what a recording does not have, and the window is used.

/**
 * @typedef {{width: number, height: number}} Room  In CSS pixels.
 * @typedef {object} PanelFrame  What surrounds a panel's canvas of 2 : 1, in CSS pixels.
 * @property {number} gap  Between columns.
 * @property {number} between  Between rows.
 * @property {number} across  Margins beside the canvas.
 * @property {number} down  Title and margins above and below it.
 * @property {number} [title]  Of them the title.
 */

/** Ways to look at systems: one alone, the first two side by side, all as small multiples. @param {string[]} keys */
export function layoutsOf(keys) {
  const pair = keys.includes("A") && keys.includes("B") ? ["AB"] : [];
  return [...keys, ...pair, ...(keys.length > 2 ? ["ALL"] : [])];
}

/** @param {string[]} keys */
export function firstLayout(keys) {
  return keys.length > 2 ? "ALL" : layoutsOf(keys).pop() || "A";
}

/** Systems of a layout. @param {string} layout @param {string[]} keys */
export function systemsIn(layout, keys) {
  if (layout === "ALL") return keys;
  return (layout === "AB" ? ["A", "B"] : [layout]).filter((key) => keys.includes(key));
}

/**
 * The first way to say something that is no wider than the room; the last one where none fits.
 * @template T
 * @param {T[]} ways @param {(way: T) => number} widthOf @param {number} room
 * @returns {T}
 */
export function fitting(ways, widthOf, room) {
  return ways.find((way) => widthOf(way) <= room) || ways[ways.length - 1];
}

/**
 * Panels in groups that belong together.
 * @param {{picture: boolean, labels: boolean, systems: string[], small: boolean}} scene `small`: small multiples.
 */
export function panelGroups({ picture, labels, systems, small }) {
  const groups = [[...(picture ? ["rgb"] : []), ...(labels ? ["gt"] : [])]];
  for (const key of systems) groups.push(small || !labels ? [`pred${key}`] : [`pred${key}`, `res${key}`]);
  const found = groups.filter((group) => group.length);
  if (!found.length) return [["rgb"]]; // it says why there is nothing
  return small || !labels ? [found.flat()] : found;
}

/**
 * Rows of panels such that each is as large as can be; `null` is a place that stays free. A view of another shape than
 * 2 : 1 has a column beside them, a row below them, or a place that would stay free: where it takes least from them,
 * and of equals where it has most room.
 * @param {string[][]} groups @param {Room} room @param {PanelFrame} frame @param {boolean} [view]
 * @returns {{rows: (string | null)[][], width: number, view: {beside: Room} | {below: Room} | {within: Room} | null}}
 *   Room for the view without its title.
 */
export function arrangement(groups, room, { gap, between, across, down, title = 0 }, view = false) {
  const all = groups.flat(), deep = Math.max(...groups.map((group) => group.length));
  /** @type {(string | null)[][][]} */
  const ways = [];
  if (groups.length > 1) {
    ways.push(groups, Array.from({ length: deep }, (_, k) => groups.map((group) => group[k] || null)));
  }
  for (let columns = 1; columns <= all.length; columns++) {
    // a last row that is nearly empty wastes what a column less would give
    ways.push(Array.from({ length: Math.ceil(all.length / columns) }, (_, k) => {
      return all.slice(k * columns, (k + 1) * columns);
    }));
  }
  const high = (/** @type {number} */ width) => Math.round((width - across) / 2 + down);
  const widest = (/** @type {number} */ columns, /** @type {number} */ n) => {
    const byWidth = (room.width - gap * (columns - 1)) / columns;
    return Math.floor(Math.min(byWidth, ((room.height - between * (n - 1)) / n - down) * 2 + across));
  };
  /** @type {ReturnType<typeof arrangement>} */
  let best = { rows: ways[0], width: -1, view: null };
  let most = 0;
  const offer = (/** @type {typeof best} */ way, area = 0) => {
    if (way.width < best.width || (way.width === best.width && area <= most)) return;
    best = way;
    most = area;
  };
  for (const rows of ways) {
    const columns = Math.max(...rows.map((row) => row.length)), n = rows.length;
    if (!view) {
      offer({ rows, width: widest(columns, n), view: null }, 1);
      continue;
    }
    const used = (/** @type {number} */ width) => n * (high(width) + between) - between;
    let width = widest(columns + 1, n);
    const beside = { width: room.width - columns * (width + gap), height: Math.max(used(width), 0) - title };
    offer({ rows, width, view: { beside } }, beside.width * beside.height);
    width = widest(columns, n + 1);
    const below = { width: room.width, height: room.height - used(width) - between - title };
    offer({ rows, width, view: { below } }, below.width * below.height);
    width = widest(columns, n);
    if (rows[n - 1].length === columns) continue;
    const within = { width, height: high(width) - title };
    offer({ rows: [...rows.slice(0, -1), [...rows[n - 1], "look"]], width, view: { within } }, width * within.height);
  }
  return best;
}
