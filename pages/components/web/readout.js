// @ts-check
// Text and tables beside the panels: clock, the point under the pointer, pairs of the frame, scores, legend, keys.

import { openPage, withFrame } from "./address.js";
import { ERROR_MARKS } from "./events.js";
import { direction, valueAt } from "./geometry.js";
import { latticeLevels, latticeTop } from "./painting.js";
import { clock, ERROR_KINDS } from "./words.js";

const HELP = [
  ["← →", "one frame back, forward"],
  ["Shift ← →", "ten frames"],
  ["Space", "play, pause"],
  ["Home End", "first, last frame"],
  ["N P", "next, previous error: where an event begins (also E, Shift E)"],
  ["+ −", "zoom (also the wheel); drag pans, across the seam too"],
  ["0", "whole sphere (also a double click)"],
  ["M", "merged map or a single source"],
  ["Esc", "back to all sources, all panels"],
  ["1 … 9", "one panel only, and back"],
  ["O", "outlines and tags"],
  ["V", "look around: a view from inside the sphere (drag turns it, the wheel sets how much is seen)"],
  ["S", "save the panels as a picture"],
  ["A W", "hear all directions; where you point (again, or a click: hold it)"],
  ["T R", "hear this source alone; everything but it"],
  ["B H", "next beam; two ears (headphones)"],
  ["L", "loop the marked region on, off"],
  ["[ ]", "start, end of the region (Shift+drag on the timeline marks it)"],
  ["?", "this list"],
];

export class Readout {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
    this.probeKey = this.pairKey = this.scoreKey = this.onwardKey = "";
    this.standing = this.flashing = "";
    this.flashTimer = undefined;
  }

  text(el, value) {
    if (el.textContent !== value) el.textContent = value;
  }

  showFrame() {
    this.text(this.player.ref.time, clock(this.player.frame / this.player.fps, 1));
    this.text(this.player.ref.frame, `frame ${this.player.frame} of ${this.player.nFrames}`);
    this.showProbe();
    this.showPairs();
    this.player.eventList.mark();
  }

  /**
   * Links that lead on with the frame that is shown when they are followed.
   * @param {{title: string, href: string, help: string}[]} links
   */
  showOnward(links) {
    const box = this.player.ref.onward, key = JSON.stringify(links);
    if (key === this.onwardKey) return;
    this.onwardKey = key;
    box.hidden = !links.length;
    box.replaceChildren(
      ...links.map(({ title, href, help }) => {
        const a = document.createElement("a");
        a.textContent = title;
        a.title = help;
        a.href = href;
        // before the browser opens it in another tab, or shows where it leads
        for (const event of ["pointerenter", "pointerdown", "focus"]) {
          a.addEventListener(event, () => {
            a.href = withFrame(href, this.player.frame);
          });
        }
        a.addEventListener("click", (e) => {
          if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
          e.preventDefault();
          openPage(withFrame(href, this.player.frame));
        });
        return a;
      }),
    );
  }

  showProbe() {
    const c = this.player.cursor,
      n = (v, d) => (v === undefined || !isFinite(v) ? "–" : (v < 0 ? "−" : "") + Math.abs(v).toFixed(d));
    const rows = [];
    if (!c || !this.player.scene) rows.push(["Point at a panel for direction, energy and class.", null]);
    else {
      const { azimuth: az, elevation: el } = direction(c, this.player.size);
      const i = Math.floor(c.y) * this.player.size.width + Math.floor(c.x),
        e = (t) => this.player.stage.fields[t][i] / 255;
      rows.push(["Azimuth", `${az > 0 ? "+" : ""}${n(az, 1)}°`], ["Elevation", `${el > 0 ? "+" : ""}${n(el, 1)}°`]);
      if (this.player.scene.tables.includes("L")) rows.push(["Label", e("L").toFixed(2)]);
      for (const t of this.player.shown) {
        rows.push([this.player.sideBySide ? `Pred. ${t}` : "Prediction", e(t).toFixed(2)]);
      }
      const lattice = this.player.lattice;
      if (lattice && this.player.prefs.bands !== "rgb") {
        const { bands: mode, scale } = this.player.prefs;
        const levels = latticeLevels(lattice, this.player.frame, mode), level = levels[this.player.latticeIndex[i]];
        const below = (level - latticeTop(lattice, mode, levels, scale === "fixed")) * lattice.step_db;
        rows.push(["Acoustic", level ? `${below > 0 ? "+" : ""}${n(below, 0)} dB` : "silent"]);
      }
      const names = new Set(), { scene, frame, size } = this.player, block = this.player.blockOf(frame);
      for (const q of block ? block.patchesOf(frame) : []) {
        if (!this.player.sources.isShown(q) || !(valueAt(q, block.values, c, size.width) > 0)) continue;
        const t = scene.tables[q.table], whose = t === "L" ? "label" : this.player.sideBySide ? t : "pred.";
        names.add(`${this.player.classes.get(scene.columns[t].category[q.row]).name} (${whose})`);
      }
      rows.push(["Class", [...names].join(", ") || "none", "w"]);
    }
    const box = this.player.ref.probe, key = JSON.stringify(rows);
    if (key === this.probeKey) return;
    this.probeKey = key;
    box.replaceChildren(
      ...rows.flatMap(([k, v, cls]) => {
        const dt = document.createElement("dt");
        dt.textContent = k;
        if (cls) dt.style.gridColumn = "1";
        if (v === null) {
          dt.style.gridColumn = "1 / 5";
          return [dt];
        }
        const dd = document.createElement("dd");
        dd.textContent = v;
        if (cls) dd.className = cls;
        return [dt, dd];
      }),
    );
  }

  showPairs() {
    const { columns, tables } = this.player.scene, F = (v, d) => (isFinite(v) ? v.toFixed(d) : "–"), body = [];
    const both = this.player.sideBySide, L = columns.L;
    for (const t of this.player.shown.length ? this.player.shown : [null]) {
      const m = t && this.player.matches[t], P = t && columns[t], seenL = new Set(), seenP = new Set(),
        e = t && this.player.sources.eventsOf(t);
      const tagCell = both ? t : "";
      if (m && L) {
        for (const row of this.player.sources.rows("L")) {
          const i = m.byLabel.get(row);
          if (i === undefined) continue;
          const pr = m.pairs.prediction[i];
          seenL.add(row);
          seenP.add(pr);
          body.push({
            t: "L",
            k: row,
            sys: tagCell,
            c: L.category[row],
            weak: m.pairs.iou[i] < Number(this.player.prefs.threshold),
            cells: [
              F(m.pairs.iou[i], 2),
              F(m.pairs.pearson[i], 2),
              `${F(m.pairs.angle[i], 1)}°`,
              isFinite(m.pairs.distance[i])
                ? (m.pairs.distance[i] > 0 ? "+" : m.pairs.distance[i] < 0 ? "−" : "") +
                  Math.abs(m.pairs.distance[i] / 100).toFixed(2)
                : "–",
            ],
          });
        }
        // errors of this frame at the chosen threshold; weak pairs are already above
        if (e) {
          for (let i = this.player.sources.firstEvent(e); i < e.frame.length && e.frame[i] === this.player.frame; i++) {
            const l = e.label[i], p = e.prediction[i];
            if (e.kind[i] === 2) {
              body.push({
                t: "L",
                k: l,
                sys: tagCell,
                c: L.category[l],
                err: 2,
                text: `taken for ${this.player.classes.get(P.category[p]).name}`,
              });
            } else if (e.kind[i] === 0 && !seenL.has(l)) {
              body.push({ t: "L", k: l, sys: tagCell, c: L.category[l], err: 0, text: "missed" });
            } else if (e.kind[i] === 1 && !seenP.has(p) && this.player.sources.scored(t, p)) {
              body.push({
                t,
                k: p,
                sys: tagCell,
                c: P.category[p],
                err: 1,
                text: `false positive${isFinite(P.score[p]) ? ` · score ${P.score[p].toFixed(2)}` : ""}`,
              });
            }
          }
        }
      } else {
        if (L && !body.some((b) => b.t === "L")) {
          for (const row of this.player.sources.rows("L")) {
            body.push({
              t: "L",
              k: row,
              sys: "L",
              c: L.category[row],
              text: `label${isFinite(L.distance[row]) ? ` · ${(L.distance[row] / 100).toFixed(1)} m` : ""}`,
            });
          }
        }
        if (t && P) {
          for (const row of this.player.sources.rows(t)) {
            if (this.player.sources.scored(t, row)) {
              body.push({
                t,
                k: row,
                sys: t,
                c: P.category[row],
                text: `prediction${isFinite(P.score[row]) ? ` · score ${P.score[row].toFixed(2)}` : ""}`,
              });
            }
          }
        }
      }
    }
    const { nothing } = this.player;
    const key = this.player.frame + JSON.stringify([body, this.player.isolate, nothing]);
    if (key === this.pairKey) return;
    this.pairKey = key;
    const box = this.player.ref.pairs;
    this.player.ref.pairNote.textContent = this.player.isolate ? "single source · Esc for all" : "";
    if (!body.length) {
      const d = document.createElement("div");
      d.className = "empty";
      d.textContent = tables.length
        ? "No source is labelled or predicted in this frame."
        : nothing || "This recording has neither labels nor predictions.";
      box.replaceChildren(d);
      return;
    }
    const table = document.createElement("table"), head = table.createTHead().insertRow(), tb = table.createTBody();
    for (const [text, tip] of [
      ["Class", ""],
      ["IoU", "Soft IoU on the official 100 × 50 canvas"],
      ["r", "Pearson correlation of the two maps"],
      ["Δ angle", "Great-circle angle between the strongest points"],
      ["Δ m", "Distance error in metres, prediction − label"],
    ]) {
      const th = document.createElement("th");
      th.textContent = text;
      th.title = tip;
      head.append(th);
    }
    for (const b of body) {
      const tr = tb.insertRow();
      tr.dataset.t = b.t;
      tr.dataset.k = b.k;
      if (this.player.sources.isIsolated(b.t, b.k)) tr.className = "sel";
      const first = tr.insertCell(), sw = document.createElement("span");
      sw.className = "sw";
      sw.style.background = this.player.classes.get(b.c).color;
      if (b.sys) {
        const s = document.createElement("span");
        s.className = "sys";
        s.textContent = b.sys;
        first.append(s);
      }
      first.append(sw, this.player.classes.get(b.c).name);
      first.title = this.player.classes.get(b.c).name;
      if (b.cells) {
        b.cells.forEach((v, i) => {
          const td = tr.insertCell();
          td.textContent = v;
          if (i === 0 && b.weak) {
            td.style.color = "var(--error-0)";
            td.title = "below the chosen IoU: not found";
          }
        });
      } else {
        const td = tr.insertCell();
        td.colSpan = 4;
        td.className = "err";
        if (b.err !== undefined) {
          const i = document.createElement("i");
          i.textContent = ERROR_MARKS[b.err];
          i.style.color = `var(--error-${b.err})`;
          td.append(i);
        }
        td.append(b.text);
        td.title = b.text;
        td.style.textAlign = "left";
        td.style.paddingLeft = "10px";
      }
    }
    box.replaceChildren(table);
  }

  // What there is no panel for, and where it would be looked for.
  showMissing() {
    const { header, tables } = this.player.scene, { reading } = header;
    const annotated = ["L", ...this.player.systemKeys].filter((t) => !reading.includes(t)); // those have a panel
    const lines = [header.messages.video, ...annotated.map((t) => this.player.missing(t))].filter(Boolean);
    if (!this.player.systemKeys.length && tables.length < 2) lines.push("No prediction set is chosen.");
    const text = lines.join("\n");
    this.text(this.player.ref.missing, text);
    this.player.ref.missing.hidden = !text;
  }

  /**
   * A system in the frame that is shown: in signs, and in words.
   * @param {string} t @returns {[string, string]}
   */
  frameFigures(t) {
    const { player } = this, { scene, sources, frame } = player, m = player.matches[t];
    if (!scene.tables.includes(t)) {
      const { unreadable, reading } = scene.header;
      const brief = reading.includes(t) ? "being read" : unreadable.includes(t) ? "cannot be read" : "no predictions";
      return [brief, player.missing(t)];
    }
    const guesses = sources.rows(t).filter((row) => sources.scored(t, row)).length;
    if (!scene.tables.includes("L")) return [`${guesses} predicted`, ""];
    if (!m) return ["matching …", ""];
    const rows = sources.rows("L"), least = Number(player.prefs.threshold);
    const iou = rows.map((row) => (m.byLabel.has(row) ? m.pairs.iou[m.byLabel.get(row)] : 0));
    const found = iou.filter((v) => v >= least).length, e = sources.eventsOf(t);
    let wrong = 0;
    for (let i = sources.firstEvent(e); i < e.frame.length && e.frame[i] === frame; i++) {
      if (e.kind[i] === 2 || (e.kind[i] === 1 && sources.scored(t, e.prediction[i]))) wrong += 1;
    }
    if (!rows.length) return [`✕ ${wrong}`, `no label, ${wrong} wrong predictions`];
    const mean = (iou.reduce((sum, v) => sum + v, 0) / rows.length).toFixed(2);
    return [
      `IoU ${mean} · ${found}/${rows.length} · ✕ ${wrong}`,
      `soft IoU ${mean} on average of the labels, ${found} of ${rows.length} found, ${wrong} wrong predictions`,
    ];
  }

  showScores() {
    if (!this.player.scene) return;
    this.showMissing();
    const box = this.player.ref.scores, h = this.player.scene.header,
      systems = this.player.systemKeys;
    const key = JSON.stringify([this.player.status, systems, Object.keys(this.player.matches), this.player.scene.id]);
    if (key === this.scoreKey) return;
    this.scoreKey = key;
    const empty = (text) => {
      const d = document.createElement("div");
      d.className = "empty";
      d.textContent = text;
      return d;
    };
    if (!systems.length || !h.has.labels) {
      const labels = h.reading.includes("L") ? this.player.missing("L") : "Scores need labels of this recording.";
      box.classList.add("vain");
      box.replaceChildren(empty(!h.has.labels ? labels : "Choose a prediction set to see its scores."));
      return;
    }
    box.classList.remove("vain");
    const out = [];
    const table = document.createElement("table"), head = table.createTHead().insertRow(), tb = table.createTBody();
    for (const t of ["", "mAP", "AP25", "AP50", "AP75", "r"]) {
      const th = document.createElement("th");
      th.textContent = t;
      head.append(th);
    }
    for (const t of systems) {
      const m = this.player.matches[t], st = this.player.status[t] || {};
      if (!m && !this.player.scene.tables.includes(t)) {
        out.push(empty(`${t}: ${this.player.missing(t)}`)); // no file, or one that cannot be read
        continue;
      }
      if (!m) {
        if (st.state === "error") {
          out.push(empty(`${t}: ${st.text}`));
          continue;
        }
        const d = empty(`${systems.length > 1 ? `${t}: ` : ""}${st.text || "Matching labels and predictions"} …`);
        const bar = document.createElement("div");
        bar.className = "bar";
        const i = document.createElement("i");
        if (st.fraction > 0) i.style.width = `${st.fraction * 100}%`;
        else i.className = "busy";
        bar.append(i);
        d.append(bar);
        out.push(d);
        continue;
      }
      for (const kind of systems.length > 2 ? ["macro"] : ["macro", "micro"]) {
        const tr = tb.insertRow(), s = m.header.scores[kind];
        tr.insertCell().textContent = (systems.length > 1 ? `${t} ` : "") + kind;
        for (const k of ["mAP", "AP25", "AP50", "AP75", "pearson_r"]) {
          tr.insertCell().textContent =
            s[k] === null || s[k] === undefined ? "–" : s[k].toFixed(k === "pearson_r" ? 3 : 3);
        }
      }
    }
    if (tb.rows.length) out.unshift(table);
    for (const t of systems) {
      const m = this.player.matches[t];
      if (m && m.header.note) {
        const d = empty(m.header.note);
        d.style.fontSize = "11.5px";
        out.push(d);
        break;
      }
    }
    box.replaceChildren(...out);
  }

  legendRow() {
    const box = this.player.ref.legend,
      th = this.player.theme,
      make = (fill, text, tip) => {
        const s = document.createElement("span");
        s.append(fill, text);
        s.title = tip || "";
        return s;
      };
    const bar = (cls) => {
      const e = document.createElement("em");
      e.className = cls;
      return e;
    };
    const icon = (k) => {
      const c = document.createElement("canvas"), d = window.devicePixelRatio || 1;
      c.width = c.height = 12 * d;
      c.style.width = c.style.height = "12px";
      const x = c.getContext("2d");
      x.scale(d, d);
      this.player.timeline.mark(x, k, 6, 6, { ...th });
      return c;
    };
    const { lead, systemKeys } = this.player, whose = systemKeys.length > 1 && lead ? ` (${lead})` : "";
    const errors = ERROR_KINDS.map((n) => `${n}${whose}`);
    box.replaceChildren(
      make(bar(""), "label"),
      make(bar("p"), "prediction"),
      ...errors.map((n, k) => make(icon(k), n)),
    );
  }

  fillHelp() {
    const box = this.player.ref.help, h = document.createElement("h3"), dl = document.createElement("dl");
    h.textContent = "Keyboard";
    for (const [keys, text] of HELP) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      for (const k of keys.split(" ")) {
        const kbd = document.createElement("kbd");
        kbd.textContent = k;
        dt.append(kbd);
      }
      dd.textContent = text;
      dl.append(dt, dd);
    }
    box.replaceChildren(h, dl);
  }

  /** What stands there until something else does; what flashes is in front of it. @param {string} text */
  note(text) {
    this.standing = text;
    this.showNote();
  }

  /** Say something for as long as it takes to read it. @param {string} text */
  flash(text) {
    this.flashing = text;
    this.showNote();
    clearTimeout(this.flashTimer);
    this.flashTimer = setTimeout(() => {
      this.flashing = "";
      this.showNote();
    }, Math.max(1800, 55 * text.length));
  }

  showNote() {
    const text = this.flashing || this.standing;
    this.text(this.player.ref.note, text);
    this.player.ref.note.classList.toggle("show", !!text);
  }
}
