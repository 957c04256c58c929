// @ts-check
// Keys of the review desk.

import { CLASS_KEYS, el } from "./desk_sheet.js";
import { isField } from "./words.js";

const HELP = [
  ["A", "accept the proposal"],
  ["X", "reject: the label stays"],
  ["U", "unsure"],
  ["Del", "remove the label"],
  ["1 … 9 0", "class 0 to 9 (as listed)"],
  ["T L K", "Water tap, Bell, Knock"],
  ["D", "distance: type, Enter sets it"],
  ["P, Shift P", "split at this frame, into parts"],
  ["M", "merge into the chosen instance"],
  ["I", "a new source: draw it, Enter"],
  ["G, H", "comment, tags"],
  ["Z, Y", "undo, redo (also Ctrl)"],
  ["N", "next item without a decision"],
  ["J", "more like this, and back"],
  ["↓ ↑", "next, previous item"],
  ["← →", "one frame back, forward"],
  ["Space", "play the event"],
  ["C", "hear its source alone, or all"],
  ["Shift V", "look around, and back"],
  ["Shift C", "two ears (headphones)"],
  ["V B S E Q", "move, box, lasso, brush, erase"],
  ["Shift + arrows", "move the region by 1°"],
  ["Enter, Esc", "apply, drop what was drawn"],
  ["F", "changes: event, onwards, this frame"],
  ["W, O", "energy, outlines of systems"],
];
/** @type {Record<string, import("./desk_drawing.js").Tool>} */
const TOOLS = { v: "move", b: "box", s: "lasso", e: "brush", q: "erase" };
const ARROWS = { arrowleft: [1, 0], arrowright: [-1, 0], arrowup: [0, 1], arrowdown: [0, -1] };
const PLAIN = {
  a: "accept",
  x: "reject",
  u: "unsure",
  delete: "remove",
  z: "undo",
  y: "redo",
  n: "unresolved",
  m: "merge",
  i: "source",
  j: "like",
  w: "layers",
  o: "others",
  c: "alone",
  " ": "play",
  enter: "apply",
  escape: "clear",
  "?": "help",
};

export class Keys {
  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    const words = HELP.flatMap(([k, text]) => [el("dt", {}, el("kbd", {}, k)), el("dd", {}, text)]);
    desk.ref.help.append(el("b", {}, "Keys"), el("dl", {}, ...words));
    desk.listen(window, "keydown", (e) => this.key(e));
    // Enter once the field has taken what was typed over, Escape before it keeps the key to itself
    desk.listen(window, "keydown", (e) => {
      if (e.key === "Enter") this.leave(e);
    });
    desk.listen(
      window,
      "keydown",
      (e) => {
        if (e.key === "Escape") this.leave(e);
      },
      true,
    );
  }

  // A field of the page is left by Enter or Escape: what is pressed next is for the item, and not for the field.
  leave(e) {
    const at = e.composedPath()[0];
    if (!this.desk.root.isConnected || !(at instanceof HTMLInputElement) || this.desk.root.contains(at)) return;
    if (
      at.type === "range" ||
      at.getAttribute("role") === "combobox" ||
      at.closest("[role=dialog], [data-testid=stPopoverBody]")
    ) {
      return;
    }
    at.blur();
    this.desk.focus(); // not a moment later: the next key may be on its way
  }

  key(e) {
    const path = e.composedPath(), at = path[0];
    if (!this.desk.root.isConnected || e.altKey) return;
    if (isField(at)) {
      if (e.key === "Escape" && this.desk.root.contains(at)) this.desk.focus();
      return;
    }
    if (e.defaultPrevented) return;
    if (
      path.some(
        (n) =>
          n instanceof Element &&
          n !== this.desk.root &&
          (n.getAttribute("role") === "dialog" || n.getAttribute("data-testid") === "stPopoverBody"),
      )
    ) {
      return;
    }
    const k = e.key.toLowerCase(),
      done = () => {
        e.preventDefault();
        e.stopPropagation();
      };
    if (e.ctrlKey || e.metaKey) {
      if (k === "z") {
        done();
        this.desk.act(e.shiftKey ? "redo" : "undo");
      } else if (k === "y") {
        done();
        this.desk.act("redo");
      }
      return;
    }
    if (at instanceof Element && at.matches("button, a") && (k === " " || k === "enter")) return;
    if (e.repeat && !k.startsWith("arrow")) return;
    if (k in ARROWS) {
      done();
      if (e.shiftKey) this.desk.drawing.nudge(ARROWS[k][0], ARROWS[k][1]);
      else if (k === "arrowleft") this.desk.seek(this.desk.frame - 1);
      else if (k === "arrowright") this.desk.seek(this.desk.frame + 1);
      else this.desk.act(k === "arrowdown" ? "next" : "previous");
      return;
    }
    const fn = this.meaning(k, e.shiftKey);
    if (!fn) return;
    done();
    fn();
  }

  // What a key does, or null.
  meaning(k, shift) {
    const { desk } = this, { ref } = desk;
    if (k === "p") return () => desk.act(shift ? "splitParts" : "split");
    if (k === "c" && shift) return () => desk.act("ears");
    if (k === "v" && shift) return () => desk.act("around");
    if (k in PLAIN) {
      return () => {
        if (k === "escape") ref.help.hidden = true;
        desk.act(PLAIN[k]);
      };
    }
    if (shift) return null;
    const category = CLASS_KEYS.indexOf(k);
    if (category >= 0) return () => desk.decide("class", { category });
    if (k in TOOLS) return () => desk.drawing.choose(TOOLS[k]);
    const others = {
      d: () => {
        ref.distance.focus();
        ref.distance.select();
      },
      g: () => ref.comment.focus(),
      h: () => ref.tags.focus(),
      f: () => {
        ref.scope.selectedIndex = (ref.scope.selectedIndex + 1) % ref.scope.options.length;
      },
    };
    return others[k] || null;
  }
}
