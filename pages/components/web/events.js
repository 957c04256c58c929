// @ts-check
// Errors joined to events: which of them are looked at, in which order, and their list.

import { clock, ERROR_KINDS } from "./words.js";

/**
 * @typedef {object} Joined  Columns of a system's events, by first frame.
 * @property {ArrayLike<number>} first
 * @property {ArrayLike<number>} last  Included.
 * @property {ArrayLike<number>} kind
 * @property {ArrayLike<number>} category
 * @property {ArrayLike<number>} taken_for  -1 where it is no confusion.
 * @property {ArrayLike<number>} frames  Wrong ones.
 * @property {ArrayLike<number>} score  NaN for what was missed.
 * @property {ArrayLike<number>} azimuth
 * @property {ArrayLike<number>} elevation
 * @typedef {object} EventFilter
 * @property {string} kinds  Digits of those that are shown.
 * @property {number} category  -1: all.
 * @property {number} least  Frames from the first to the last.
 * @property {string} score  `least..below`; what has no score is kept.
 * @property {string} order  `time`, `frames` or `score`.
 */

/** @type {Readonly<EventFilter>} */
export const ALL_EVENTS = { kinds: "012", category: -1, least: 1, score: "", order: "time" };

const MOST_ROWS = 300;
export const MATCHING = "Matching is still running.";
export const ERROR_MARKS = ["○", "✕", "◆"];

/**
 * Numbers of the events that a filter keeps, in time.
 * @param {Joined} events @param {EventFilter} filter @param {number} floor Score below which predictions are not drawn.
 */
export function keptEvents(events, { kinds, category, least, score }, floor) {
  const [low, high] = score ? score.split("..").map(Number) : [-Infinity, Infinity], kept = [];
  for (let k = 0; k < events.first.length; k++) {
    const value = events.score[k];
    if (!kinds.includes(String(events.kind[k]))) continue;
    if (category >= 0 && events.category[k] !== category && events.taken_for[k] !== category) continue;
    if (events.last[k] - events.first[k] + 1 < least || value < low || value >= high) continue;
    if (events.kind[k] === 1 && value < floor) continue;
    kept.push(k);
  }
  return kept;
}

/** The same numbers, what costs most first. @param {Joined} events @param {number[]} kept @param {string} order */
export function sortedEvents(events, kept, order) {
  if (order === "time") return kept;
  const cost = order === "frames" ? events.frames : events.score;
  const of = (/** @type {number} */ k) => (Number.isNaN(cost[k]) ? -Infinity : cost[k]);
  return [...kept].sort((a, b) => (of(a) === of(b) ? a - b : of(b) - of(a)));
}

/** What an address says of a filter; null for nonsense. @param {string} text @returns {EventFilter | null} */
export function readFilter(text) {
  const [kinds, category, least, score, order] = text.split("*");
  if (!/^[012]{0,3}$/.test(kinds) || !["time", "frames", "score"].includes(order)) return null;
  if (!/^(-1|\d{1,3})$/.test(category) || !/^\d{1,4}$/.test(least) || !/^([\d.]+)?$/.test(score)) return null;
  return { kinds, category: Number(category), least: Math.max(1, Number(least)), score, order };
}

/** A filter for the address; "" for that which keeps everything. @param {EventFilter} filter */
export function writtenFilter(filter) {
  const { kinds, category, least, score, order } = filter;
  const text = [kinds, category, least, score, order].join("*");
  return text === "012*-1*1**time" ? "" : text;
}

export class EventList {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    /** @type {EventFilter} */
    this.filter = { ...ALL_EVENTS };
    /** Events of the system in charge. @type {Joined | null} */
    this.joined = null;
    /** @type {number[]} */
    this.kept = [];
    /** First frames of the kept events, rising. @type {number[]} */
    this.starts = [];
    /** @type {HTMLTableRowElement[]} */
    this.rows = [];
    this.open = false;
  }

  /** @param {Joined | null} joined */
  load(joined) {
    this.joined = joined;
    const { category } = this.filter;
    this.refresh();
    if (joined) this.fillClasses(category);
  }

  /** @param {string} name @param {string | number} value */
  set(name, value) {
    /** @type {any} */ (this.filter)[name] = name === "category" || name === "least" ? Number(value) : value;
    this.refresh();
    this.player.stage.invalidate();
    this.player.saveUrl();
  }

  /** @param {string} kind */
  toggleKind(kind) {
    const { kinds } = this.filter;
    this.set("kinds", kinds.includes(kind) ? kinds.replace(kind, "") : [...kinds, kind].sort().join(""));
  }

  /** Look at the list, or at the frame. @param {boolean} open */
  show(open) {
    const { ref } = this.player;
    this.open = open;
    ref.side.classList.toggle("listing", open);
    ref.pairs.hidden = open;
    ref.events.hidden = ref.eventFilter.hidden = !open;
    for (const tab of this.player.root.querySelectorAll('[data-act="tab"]')) {
      tab.setAttribute("aria-selected", String((tab.dataset.v === "events") === open));
    }
    this.paint();
  }

  refresh() {
    const { joined, player } = this;
    this.kept = joined ? keptEvents(joined, this.filter, Number(player.prefs.floor)) : [];
    this.starts = this.kept.map((k) => joined.first[k]);
    player.timeline.setErrors(
      this.kept.map((k) => {
        return { kind: joined.kind[k], c: joined.category[k], from: joined.first[k], to: joined.last[k] + 1 };
      }),
    );
    player.ref.eventCount.textContent = joined ? String(this.kept.length) : "";
    this.paint();
  }

  // Classes that occur, for the list of classes.
  fillClasses(chosen) {
    const { joined, player } = this, select = player.root.querySelector('[data-filter="category"]');
    const there = new Set([...Array.from(joined.category), ...Array.from(joined.taken_for), chosen]);
    const option = (value, text) => {
      const o = document.createElement("option");
      o.value = String(value);
      o.textContent = text;
      return o;
    };
    const classes = player.scene.header.classes.filter((c) => there.has(c.id));
    select.replaceChildren(option(-1, "all classes"), ...classes.map((c) => option(c.id, c.name)));
    select.value = String(chosen);
    select.disabled = false;
  }

  // No classes to choose from yet: the choice says why.
  noClasses() {
    const { player } = this, select = player.root.querySelector('[data-filter="category"]');
    const word = document.createElement("option");
    word.textContent = player.errorsMissing === MATCHING ? "matching …" : "no errors";
    select.replaceChildren(word);
    select.disabled = true;
  }

  paint() {
    if (!this.open || !this.player.scene) return;
    const { joined, player, filter } = this, box = player.ref.events;
    for (const el of player.root.querySelectorAll("[data-filter]")) el.value = String(filter[el.dataset.filter]);
    for (const el of player.root.querySelectorAll('[data-act="eventKind"]')) {
      el.classList.toggle("on", filter.kinds.includes(el.dataset.v));
    }
    this.rows = [];
    const note = document.createElement("div");
    note.className = "empty";
    if (!joined) {
      this.noClasses();
      note.textContent = player.errorsMissing;
      box.replaceChildren(note);
      return;
    }
    const table = document.createElement("table"), body = table.createTBody();
    const total = (list) => list.reduce((sum, k) => sum + joined.frames[k], 0);
    const all = Array.from(joined.first, (_, k) => k), of = this.kept.length < all.length;
    const whose = player.systemKeys.length > 1 ? `${player.lead}: ` : "";
    const counts = !all.length
      ? "No errors at this IoU."
      : of
        ? `${this.kept.length} of ${all.length} events, ${total(this.kept)} of ${total(all)} wrong frames`
        : `${all.length} event${all.length > 1 ? "s" : ""}, ${total(all)} wrong frame${total(all) > 1 ? "s" : ""}`;
    note.textContent = whose + counts;
    note.title =
      "Errors of one kind and class at most 0.3 s and 20° apart are one event; a frame with two errors counts twice.";
    for (const k of sortedEvents(joined, this.kept, filter.order).slice(0, MOST_ROWS)) {
      const row = body.insertRow(), cls = player.classes.get(joined.category[k]);
      row.dataset.e = String(k);
      row.tabIndex = 0;
      const [what, when, long, score] = [row.insertCell(), row.insertCell(), row.insertCell(), row.insertCell()];
      const mark = document.createElement("i"), swatch = document.createElement("span");
      mark.textContent = ERROR_MARKS[joined.kind[k]];
      mark.className = "mark";
      mark.style.color = `var(--error-${joined.kind[k]})`;
      swatch.className = "sw";
      swatch.style.background = cls.color;
      const taken = joined.taken_for[k] >= 0 ? player.classes.get(joined.taken_for[k]) : null;
      what.append(mark, swatch, taken ? `${cls.short} → ${taken.short}` : cls.name);
      when.textContent = clock(joined.first[k] / player.fps, 1);
      const seconds = (joined.last[k] - joined.first[k] + 1) / player.fps;
      long.textContent = `${seconds.toFixed(1)} s`;
      score.textContent = Number.isNaN(joined.score[k]) ? "" : joined.score[k].toFixed(2);
      const deg = (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(0)}°`;
      row.title = [
        taken ? `${cls.name} taken for ${taken.name}` : `${cls.name}, ${ERROR_KINDS[joined.kind[k]]}`,
        `${joined.frames[k]} wrong of ${joined.last[k] - joined.first[k] + 1} frames`,
        `azimuth ${deg(joined.azimuth[k])}, elevation ${deg(joined.elevation[k])}`,
      ].join(" · ");
      this.rows.push(row);
    }
    const parts = [note];
    if (this.rows.length) parts.push(table);
    if (this.kept.length > MOST_ROWS) {
      const rest = document.createElement("div");
      rest.className = "empty";
      rest.textContent = `and ${this.kept.length - MOST_ROWS} more: choose kinds, a class or a length to see them.`;
      parts.push(rest);
    }
    box.replaceChildren(...parts);
    this.mark();
  }

  // Events that go on in the frame that is shown.
  mark() {
    if (!this.open || !this.joined) return;
    const { frame } = this.player, box = this.player.ref.events;
    /** @type {HTMLTableRowElement | undefined} */
    let here;
    for (const row of this.rows) {
      const k = Number(row.dataset.e), on = this.joined.first[k] <= frame && frame <= this.joined.last[k];
      if (on && !here && !row.classList.contains("sel")) here = row;
      row.classList.toggle("sel", on);
    }
    if (!here) return;
    const top = here.offsetTop - box.scrollTop;
    if (top < 0 || top + here.offsetHeight > box.clientHeight) box.scrollTop += top - box.clientHeight / 2;
  }
}
