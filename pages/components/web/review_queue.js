// @ts-check
// What waits to be saved, and the list as it is with that: nothing here touches the page.

/**
 * @typedef {object} Action  What a reviewer did.
 * @property {string} action
 * @property {string} item
 * @property {string} reviewer
 * @property {string} [uid]
 * @property {number} [at]  Time, and the count of those of one moment.
 * @property {number} [count]
 * @property {string} [held]  Why it was not written, as far as the server has said.
 * @property {string} [note]
 * @property {string} [stamp]
 * @property {string} [seen]  Newest line about the item that the reviewer knew.
 * @property {string} [base]  Item that was on the screen when a source was added.
 * @property {number} [category]
 * @property {string | null} [next]  Item that was shown in its place.
 * @property {boolean} [later]
 * @property {any} [shapes]
 * @property {number} [azimuth_deg]
 * @property {number} [elevation_deg]
 * @property {boolean} [blind]
 * @typedef {object} Row  An item in the list.
 * @property {string} id
 * @property {string} status
 * @property {string} [title]
 * @property {number} [category]
 * @property {string} [class_name]
 * @property {string} [place]
 * @property {string} [recording]
 * @property {number} [start]
 * @property {number} [end]
 * @property {number} [score]
 * @typedef {object} List  The part of the list that is known.
 * @property {string} show
 * @property {Row[]} rows
 * @property {number} first  Place of the first row in the list.
 * @property {number} total
 * @property {Record<string, number>} counts
 * @property {{item: string, text: string}[]} undo  Next one last.
 * @property {{item: string, text: string}[]} redo
 */

/** Lists that an item leaves when it is decided. */
export const LEAVING = ["open", "mine", "conflict"];
export const NOTES = ["comment", "tag"];
export const STEPS = ["undo", "redo"];
export const MOVES = ["next", "previous", "unresolved"];
/** Other lists: of what is like an item, and back. */
export const LISTS = ["like", "unlike"];
/** What is no decision: nothing is lost with it. */
export const PASSING = [...MOVES, ...LISTS];

/**
 * Decisions that the server has not confirmed, oldest first. Kept in the browser's storage until it has, so that
 * neither a tab that dies nor a server that is away loses one; the identifier makes it safe to send one twice.
 */
export class Outbox {
  /** @param {Storage} storage @param {string} file */
  constructor(storage, file) {
    this.storage = storage;
    this.file = file;
    this.prefix = `sai-review ${file} `;
    /** @type {Action[]} */
    this.waiting = [];
    this.count = 0;
    /** Whether the browser keeps them; not in a private window, or when its storage is full. */
    this.kept = true;
    try {
      for (let k = 0; k < storage.length; k++) {
        const key = storage.key(k);
        if (key.startsWith(this.prefix)) this.waiting.push(JSON.parse(storage.getItem(key)));
      }
    } catch {
      this.kept = false;
    }
    this.waiting.sort((a, b) => a.at - b.at || a.count - b.count);
  }

  /** @param {Action} action @param {string} uid @param {number} at */
  add(action, uid, at) {
    const kept = { ...action, uid, at, count: this.count++ };
    this.waiting.push(kept);
    this.keep(kept);
    return kept;
  }

  /** @param {Action} action */
  keep(action) {
    if (PASSING.includes(action.action)) return;
    const kept = { ...action, held: undefined, note: undefined, later: undefined }; // found out anew
    try {
      this.storage.setItem(this.prefix + action.uid, JSON.stringify(kept));
    } catch {
      this.kept = false;
    }
  }

  /** @param {string} uid */
  find(uid) {
    return this.waiting.find((a) => a.uid === uid);
  }

  /** It is saved, or given up. @param {string} uid */
  settle(uid) {
    this.waiting = this.waiting.filter((a) => a.uid !== uid);
    try {
      this.storage.removeItem(this.prefix + uid);
    } catch {
      /* it is not there */
    }
  }

  /** @param {string} reviewer */
  ready(reviewer) {
    return this.waiting.filter((a) => a.reviewer === reviewer && !a.held);
  }
}

/**
 * The reviewer's undo stack once everything that waits is done, and what that decides.
 * @param {Pick<List, "undo" | "redo">} list @param {Action[]} waiting
 */
export function replay({ undo, redo }, waiting) {
  /** @type {{item: string, text: string, waits?: Action}[]} */
  const done = undo.map((s) => ({ ...s }));
  let back = redo.map((s) => ({ ...s }));
  /** Line that will be the newest, by item. @type {Map<string, string>} */
  const newest = new Map();
  for (const a of waiting) {
    if (a.held || PASSING.includes(a.action)) continue;
    let { item } = a;
    if (STEPS.includes(a.action)) {
      const moved = (a.action === "undo" ? done : back).pop();
      if (!moved) continue;
      (a.action === "undo" ? back : done).push(moved);
      item = moved.item;
    } else {
      done.push({ item, text: a.action, waits: a });
      back = [];
    }
    if (!NOTES.includes(a.action)) newest.set(item, a.uid);
  }
  const decisions = done.filter((s) => s.waits && !NOTES.includes(s.waits.action));
  /** Action by item. */
  const decided = new Map(decisions.map((s) => [s.item, s.waits.action]));
  return { undo: done, redo: back, decided, newest };
}

/** Rows that the list still has. @param {List} list @param {Map<string, string>} decided */
export function openRows(list, decided) {
  return LEAVING.includes(list.show) ? list.rows.filter((r) => !decided.has(r.id)) : list.rows;
}

/**
 * The item before or after one, around the end where the whole list is known; null where it is not, or there is none.
 * @param {List} list @param {Map<string, string>} decided @param {string | null} from
 * @param {{direction?: number, unresolved?: boolean}} [how] `unresolved`: only one without a decision.
 * @returns {string | null}
 */
export function neighbour(list, decided, from, { direction = 1, unresolved = false } = {}) {
  const { rows } = list, at = rows.findIndex((r) => r.id === from), n = rows.length;
  const whole = list.first === 0 && n >= list.total, leaving = LEAVING.includes(list.show);
  for (let k = 1; k <= n; k++) {
    let i = (at < 0 && direction < 0 ? n : at) + k * direction;
    if (i < 0 || i >= n) {
      if (!whole) return null;
      i = ((i % n) + n) % n;
    }
    const row = rows[i];
    if (row.id === from || (leaving && decided.has(row.id))) continue;
    if (unresolved && (decided.has(row.id) || !["open", "conflict"].includes(row.status))) continue;
    return row.id;
  }
  return null;
}

/** Items that come after one. @param {List} list @param {Map<string, string>} decided @param {string | null} from */
export function coming(list, decided, from, n = 4) {
  const out = [];
  let id = from;
  while (out.length < n) {
    id = neighbour(list, decided, id);
    if (!id || id === from || out.includes(id)) break;
    out.push(id);
  }
  return out;
}

/** Items by status once everything that waits is done. @param {List} list @param {Map<string, string>} decided */
export function countsWith(list, decided) {
  const n = { ...list.counts };
  for (const row of list.rows) {
    if (!decided.has(row.id)) continue;
    const stays = row.status === "conflict" && list.show !== "conflict"; // decided, but not settled
    n[row.status] -= 1;
    n[stays ? "conflict" : decided.get(row.id) === "unsure" ? "unsure" : "done"] += 1;
  }
  return n;
}
