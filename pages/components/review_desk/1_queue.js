// What waits to be saved, and the list as it is with that: nothing here touches the page.

const LEAVING = ["open", "mine", "conflict"]; // lists that an item leaves when it is decided
const NOTES = ["comment", "tag"], STEPS = ["undo", "redo"], MOVES = ["next", "previous", "unresolved"];

// Decisions that the server has not confirmed, oldest first. Kept in the browser's storage until it has, so that neither
// a tab that dies nor a server that is away loses one; the identifier makes it safe to send one twice.
class Outbox {
  constructor(storage, file) {
    this.storage = storage; this.prefix = `sai-review ${file} `; this.waiting = []; this.count = 0; this.kept = true;
    try {
      for (let k = 0; k < storage.length; k++) {
        const key = storage.key(k);
        if (key.startsWith(this.prefix)) this.waiting.push(JSON.parse(storage.getItem(key)));
      }
    } catch { this.kept = false; }
    this.waiting.sort((a, b) => a.at - b.at || a.count - b.count);
  }
  add(action, uid, at) {
    const kept = { ...action, uid, at, count: this.count++ };
    this.waiting.push(kept); this.keep(kept);
    return kept;
  }
  keep(action) {
    if (MOVES.includes(action.action)) return;
    const { held, note, ...rest } = action; // what became of it is found out anew
    try { this.storage.setItem(this.prefix + action.uid, JSON.stringify(rest)); } catch { this.kept = false; } // full, or a private window
  }
  find(uid) { return this.waiting.find((a) => a.uid === uid); }
  settle(uid) {
    this.waiting = this.waiting.filter((a) => a.uid !== uid);
    try { this.storage.removeItem(this.prefix + uid); } catch { /* it is not there */ }
  }
  ready(reviewer) { return this.waiting.filter((a) => a.reviewer === reviewer && !a.held); }
}

// The reviewer's undo stack once everything that waits is done, and what that decides.
function replay({ undo, redo }, waiting) {
  let done = undo.map((s) => ({ ...s })), back = redo.map((s) => ({ ...s }));
  const newest = new Map(); // by item: the line that will be its newest
  for (const a of waiting) {
    if (a.held || MOVES.includes(a.action)) continue;
    let item = a.item;
    if (STEPS.includes(a.action)) {
      const moved = (a.action === "undo" ? done : back).pop();
      if (!moved) continue;
      (a.action === "undo" ? back : done).push(moved); item = moved.item;
    } else { done.push({ item, text: a.action, waits: a }); back = []; }
    if (!NOTES.includes(a.action)) newest.set(item, a.uid);
  }
  const decided = new Map(done.filter((s) => s.waits && !NOTES.includes(s.waits.action)).map((s) => [s.item, s.waits.action]));
  return { undo: done, redo: back, decided, newest };
}

// Rows that the list still has.
function openRows(desk, decided) { return LEAVING.includes(desk.show) ? desk.rows.filter((r) => !decided.has(r.id)) : desk.rows; }

// The item before or after one, around the end where the whole list is known; null where it is not, or there is none.
function neighbour(desk, decided, from, { direction = 1, unresolved = false } = {}) {
  const ids = desk.rows.map((r) => r.id), at = ids.indexOf(from), n = ids.length;
  const whole = desk.first === 0 && n >= desk.total;
  const leaving = LEAVING.includes(desk.show);
  for (let k = 1; k <= n; k++) {
    let i = (at < 0 && direction < 0 ? n : at) + k * direction;
    if (i < 0 || i >= n) { if (!whole) return null; i = ((i % n) + n) % n; }
    const row = desk.rows[i];
    if (row.id === from || (leaving && decided.has(row.id))) continue;
    if (unresolved && (decided.has(row.id) || !["open", "conflict"].includes(row.status))) continue;
    return row.id;
  }
  return null;
}

function countsWith(desk, decided) {
  const n = { ...desk.counts };
  for (const row of desk.rows) {
    if (!decided.has(row.id)) continue;
    const status = desk.show === "conflict" || row.status !== "conflict" ? (decided.get(row.id) === "unsure" ? "unsure" : "done") : "conflict";
    n[row.status] -= 1; n[status] += 1;
  }
  return n;
}
