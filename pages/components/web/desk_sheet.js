// @ts-check
// Text of the review desk: list, facts, decisions, what is saved. Everything goes in as text, never as HTML.

import { countsWith, openRows, PASSING } from "./review_queue.js";
import { clock } from "./words.js";

export const CLASS_KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "t", "l", "k"];
const STATUS = { done: "✓ done", unsure: "? unsure", conflict: "≠ conflict", open: "" };
const NEEDS_ITEM =
  ".rv-right button:not([data-act=undo]):not([data-act=redo]):not([data-act=help]), .rv-right input, " +
  ".rv-right textarea, .rv-right select";

/**
 * An element; strings among its children become text.
 * @param {string} tag @param {Record<string, string>} attributes
 * @param {...(Node | string | null | undefined)} children
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return element;
}

export class Sheet {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.noteTimer = undefined;
    /** Elements of the list, and what each was made from. @type {Map<string, {node: HTMLElement, from: string}>} */
    this.listed = new Map();
    this.selected = "";
    /** @type {import("./desk_listening.js").Evidence | null} */
    this.evidence = null;
  }

  /** The list; only what has changed is made anew, for a key waits for it. */
  rows(rows, selected, empty) {
    const { list } = this.desk.ref, now = new Map();
    for (const r of rows) {
      const old = this.listed.get(r.id), from = JSON.stringify(r);
      now.set(r.id, old && old.from === from ? old : { node: this.row(r), from });
    }
    const nodes = new Set(Array.from(now.values(), ({ node }) => node));
    for (const node of Array.from(list.children)) if (!nodes.has(node)) node.remove();
    let at = list.firstElementChild;
    for (const node of nodes) {
      if (node === at) at = at.nextElementSibling;
      else list.insertBefore(node, at);
    }
    if (!rows.length) list.append(el("div", { class: "rv-none" }, empty));
    for (const [id, { node }] of now) {
      const is = String(id === selected);
      if (node.getAttribute("aria-selected") !== is) node.setAttribute("aria-selected", is);
    }
    const node = (of) => (of.get(selected) || {}).node;
    const moved = this.selected !== selected || node(now) !== node(this.listed);
    this.listed = now;
    this.selected = selected;
    const here = now.get(selected);
    list.setAttribute("aria-activedescendant", here ? here.node.id : "");
    if (here && moved) here.node.scrollIntoView({ block: "nearest" });
  }

  row(r) {
    const shown = r.alike ? r.alike.total : r.score;
    return el(
      "div",
      {
        class: "rv-item",
        role: "option",
        id: `rv-${r.id}`,
        "data-item": r.id,
        title: `${r.place}, frames ${r.start} to ${r.end}${r.alike ? `; ${r.alike.words}` : ""}`,
      },
      el(
        "span",
        { class: "a" },
        el("i", { class: "dot", style: `background:${this.desk.color(r.category)}` }),
        r.title,
      ),
      el(
        "span",
        { class: "s" },
        r.status !== "open"
          ? el("span", { class: `st ${r.status}` }, STATUS[r.status])
          : el(
              "span",
              {},
              el("span", { class: "meter" }, el("i", { style: `width:${Math.round(100 * shown)}%` })),
              shown.toFixed(2),
            ),
      ),
      el("span", { class: "b" }, `${r.class_name} · ${r.recording} · ${r.start}–${r.end}`),
      r.alike && el("span", { class: "b" }, r.alike.words),
    );
  }

  /**
   * What a network makes of the source alone: the classes by their scores, the keys as ever; null for the usual order.
   * @param {import("./desk_listening.js").Evidence | null} evidence
   */
  heard(evidence) {
    const { classes, evidence: words } = this.desk.ref;
    this.evidence = evidence;
    classes.classList.toggle("scored", !!evidence);
    for (const b of classes.children) {
      const c = Number(b.dataset.class), share = evidence ? evidence.scores[c] : 0;
      b.style.order = evidence ? String(evidence.order.indexOf(c)) : "";
      b.style.setProperty("--share", `${Math.round(100 * share)}%`);
      b.firstElementChild.textContent = evidence ? share.toFixed(2) : "";
    }
    const none = evidence && evidence.nothing >= 0.005 ? `; none of them ${evidence.nothing.toFixed(2)}` : "";
    const sentence = evidence ? `Evidence, no decision: scores of ${evidence.by}${none}` : "";
    if (words.textContent !== sentence) words.textContent = words.title = sentence;
  }

  render() {
    if (!this.desk.list) return;
    const d = this.desk.list, i = this.desk.item, { decided, undo, redo } = this.desk.after,
      n = countsWith(d, decided), rows = openRows(d, decided), total = n.open + n.done + n.unsure + n.conflict,
      share = (v) => `width:${total ? (100 * v) / total : 0}%`;
    this.desk.ref.progress.replaceChildren(
      el(
        "div",
        {},
        el("b", {}, String(n.open)),
        " left · ",
        `${n.done + n.unsure} of ${total} decided`,
        n.conflict ? ` · ${n.conflict} in conflict` : "",
        d.alike ? " · like one item" : "",
      ),
      el(
        "div",
        {
          class: "bar",
          role: "progressbar",
          "aria-label": "Decided",
          "aria-valuemin": "0",
          "aria-valuemax": String(total),
          "aria-valuenow": String(n.done + n.unsure),
        },
        el("i", { class: "done", style: share(n.done) }),
        el("i", { class: "unsure", style: share(n.unsure) }),
        el("i", { class: "conflict", style: share(n.conflict) }),
      ),
    );
    this.rows(rows, i ? i.id : "", d.empty);
    const listed = d.total - (d.rows.length - rows.length);
    this.desk.ref.more.textContent =
      d.total > d.rows.length
        ? `${d.first + 1} to ${d.first + rows.length} of ${listed}`
        : `${listed} item${listed === 1 ? "" : "s"} in this list`;
    const { waiting, reviewer } = this.desk;
    const mine = waiting.filter((a) => !PASSING.includes(a.action) && a.reviewer === reviewer).length,
      others = this.desk.waiting.filter((a) => a.reviewer !== this.desk.reviewer);
    this.desk.ref.saved.textContent = [
      mine
        ? `${mine} not yet saved${this.desk.box.kept ? "" : " and lost if this tab is closed"}.`
        : d.saved
          ? `${this.desk.outcome ? this.desk.outcome.replace(/\.?$/, ". ") : ""}Saved ${d.saved}.`
          : `Nothing decided by ${d.reviewer} yet.`,
      others.length
        ? `${others.length} of ${[...new Set(others.map((a) => a.reviewer))].join(", ")} wait for that name.`
        : "",
    ]
      .filter(Boolean)
      .join(" ");
    this.desk.ref.saved.title = this.desk.ref.saved.textContent;
    this.desk.root.dataset.unsaved = mine;
    const last = (steps) => (steps.length ? steps[steps.length - 1].text : "");
    this.desk.ref.undo.disabled = !undo.length;
    this.desk.ref.redo.disabled = !redo.length;
    this.desk.ref.undo.title = `Undo (Z)${last(undo) && `: ${last(undo)}`}`;
    this.desk.ref.redo.title = `Redo (Y)${last(redo) && `: ${last(redo)}`}`;
    for (const b of this.desk.root.querySelectorAll(NEEDS_ITEM)) b.disabled = !i;
    if (!this.desk.ref.classes.childElementCount) {
      this.desk.ref.classes.append(
        ...this.desk.classes.map((c, k) =>
          el(
            "button",
            { "data-class": String(k), title: `Make it ${c.name} (${CLASS_KEYS[k].toUpperCase()})` },
            el("span", { class: "score" }),
            el("kbd", {}, CLASS_KEYS[k].toUpperCase()),
            el("i", { class: "dot", style: `background:${c.color}` }),
            c.short,
          ),
        ),
      );
      this.heard(this.evidence);
    }
    if (!i) {
      this.desk.ref.head.replaceChildren(el("span", { class: "name" }, this.desk.current ? "Loading …" : d.empty));
      this.desk.ref.why.replaceChildren();
      this.desk.ref.history.replaceChildren();
      this.desk.ref.acceptText.textContent = "";
      this.clock();
      this.desk.ref.legend.textContent = "";
      return;
    }
    this.desk.ref.head.replaceChildren(
      el("span", { class: "chip kind" }, i.title),
      el("i", { class: "dot", style: `background:${this.desk.color(i.category)};margin:0` }),
      el("span", { class: "name" }, i.class_name),
      el("span", {}, i.place),
      el("span", { class: "dim" }, `frames ${i.start}–${i.end} · suspicion ${i.score.toFixed(2)}`),
      ...i.tags.map((t) => el("span", { class: "chip" }, t)),
      ...(i.simulated ? [el("span", { class: "chip" }, "simulated")] : []),
    );
    this.desk.ref.why.replaceChildren(
      `${i.reason} `,
      i.link && el("a", { href: i.link, target: "_blank", rel: "noopener" }, "Open in the Explorer"),
      " ",
      el(
        "button",
        { "data-act": "like", title: "The items of the same class, near in direction and alike in sound (J)" },
        el("kbd", {}, "J"),
        d.alike ? "Back to all" : "More like this",
      ),
    );
    const { fills } = this.desk;
    const between = fills === null ? " Frames between filled in." : fills ? ` ${fills} between filled in.` : "";
    this.desk.ref.acceptText.textContent = i.proposal + between;
    for (const v of ["accept", "reject", "unsure"]) {
      this.desk.root.querySelector(`[data-act=${v}]`).classList.toggle("is", i.own === v);
    }
    const current = this.targetClass();
    for (const b of this.desk.ref.classes.children) b.classList.toggle("on", Number(b.dataset.class) === current);
    this.desk.ref.instance.replaceChildren(
      ...(i.instances.length
        ? i.instances.map((m) =>
            el("option", { value: String(m.instance) }, `with #${m.instance} (${m.start}–${m.end})`),
          )
        : [el("option", { value: "" }, "no other instance")]),
    );
    this.desk.ref.mergeButton.disabled = !i.instances.length;
    this.desk.ref.history.replaceChildren(
      ...(d.show === "conflict" && i.status === "conflict"
        ? [el("p", {}, el("b", { class: "st conflict" }, "Conflict. "), "What you decide now settles it.")]
        : []),
      ...i.views.map((v) =>
        el("p", {}, el("b", {}, `${v.reviewer}: `), v.text, el("span", { class: "dim" }, ` ${v.time}`)),
      ),
      ...i.comments.map((c) => el("p", {}, el("b", {}, `${c.reviewer}: `), `“${c.comment}”`)),
    );
    if (!i.views.length && !i.comments.length) this.desk.ref.history.append(el("p", { class: "dim" }, "None yet."));
    const names = Object.entries(this.desk.moment ? this.desk.moment.systems : {}).map(([k, v]) => `${k} ${v}`);
    this.desk.ref.legend.textContent = [
      "solid: label",
      this.desk.moment && this.desk.moment.version ? "dashed: before your changes" : "",
      names.length ? `dotted: ${names.join(", ")}` : "",
      this.desk.rows.M ? "+ metadata" : "",
    ]
      .filter(Boolean)
      .join(" · ");
    this.desk.ref.legend.title = this.desk.ref.legend.textContent;
    this.clock();
  }

  fields() {
    const i = this.desk.item;
    this.desk.ref.comment.value = "";
    this.desk.ref.tags.value = i ? i.tags.join(", ") : "";
    this.desk.ref.distance.value = i && i.distance !== null ? Math.round(i.distance) : "";
  }

  say(text, buttons = []) {
    if (this.desk.question && !buttons.length && text) return; // a question stays until it is answered
    this.desk.ref.note.hidden = !text;
    clearTimeout(this.noteTimer);
    this.desk.ref.note.replaceChildren(
      text,
      ...(buttons.length
        ? [
            el(
              "div",
              { class: "line" },
              ...buttons.map(([words, fn]) => {
                const b = el("button", {}, words);
                b.onclick = () => {
                  fn();
                  this.desk.focus();
                };
                return b;
              }),
            ),
          ]
        : []),
    );
    if (text && !buttons.length) {
      this.noteTimer = setTimeout(() => {
        this.desk.ref.note.hidden = true;
      }, 9000);
    }
  }

  targetClass() {
    const w = this.desk.rows.W;
    if (!w) return -1;
    for (let k = 0; k < w.frame.length; k++) if (w.target[k]) return w.category[k];
    return -1;
  }

  clock() {
    const { item, frame, fps, ref } = this.desk;
    ref.clock.textContent = item ? `${clock(frame / fps, 1)} · frame ${frame}` : "";
  }

  tools() {
    for (const b of this.desk.root.querySelectorAll("[data-tool]")) {
      b.classList.toggle("on", b.dataset.tool === this.desk.drawing.tool);
      b.setAttribute("aria-pressed", b.dataset.tool === this.desk.drawing.tool);
    }
    this.desk.ref.lookBox.dataset.tool = this.desk.drawing.tool;
    this.desk.ref.brushes.hidden = !this.desk.drawing.paints;
    this.desk.ref.energyBox.hidden = this.desk.drawing.tool !== "brush";
    this.desk.ref.radiusOut.textContent = `${this.desk.drawing.radius}°`;
    this.desk.ref.energyOut.textContent = this.desk.drawing.energy.toFixed(2);
    this.desk.ref.apply.disabled = this.desk.ref.clear.disabled = !this.desk.drawing.dirty;
    this.desk.ref.heat.setAttribute("aria-pressed", this.desk.showHeat);
    this.desk.ref.others.setAttribute("aria-pressed", this.desk.showOthers);
  }
}
