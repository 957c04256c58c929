// @ts-check
// Buttons, lists and keys of the player.

import { layoutsOf } from "./layouts.js";
import { RANGE_DB } from "./stage.js";
import { isField } from "./words.js";

/** What is chosen when nothing has been chosen yet; kept in the browser. */
export const PREFS = {
  overlay: "none",
  opacity: 0.7,
  cmap: "magma",
  scale: "fixed",
  mode: "full",
  rate: "1",
  threshold: "0.25",
  floor: "0",
  bands: "max",
  range: "auto",
  beam: "max-re",
  look: false,
  lookLayer: "same",
};
const KEPT = "sai.player";

/** Parts of the page that have keys of their own. */
const OWN_KEYS = "[contenteditable], [role=combobox], [role=listbox], [role=dialog], [role=menu]";

export function storedPrefs() {
  try {
    return { ...PREFS, ...JSON.parse(localStorage.getItem(KEPT) || "{}") };
  } catch {
    return { ...PREFS }; // a private window
  }
}

export class Controls {
  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
  }

  setPref(name, value) {
    this.player.prefs[name] = value;
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.player.prefs));
    } catch {
      /* private window */
    }
    if (name === "mode") {
      this.player.store.clear();
      this.player.requests.decoding.clear();
      this.player.requests.pending = null;
      this.player.requests.plan();
    }
    if (name === "threshold") this.player.sources.refreshErrors();
    if (name === "floor") this.player.eventList.refresh();
    if (name === "cmap") {
      this.player.stage.paintScales();
      if (this.player.timeline.spectrogram) this.player.paintSpectrogram();
    }
    if (name === "beam") this.player.hearing.changed();
    if (name === "scale") this.player.stage.paintScales();
    if (name === "rate" && this.player.playing) {
      this.player.transport.pause();
      this.player.transport.play();
    }
    if (name === "overlay") {
      this.player.stage.arrange();
      this.player.requests.plan();
      this.player.saveUrl();
    }
    if (name === "look") {
      if (!value && this.player.max === "look") this.player.max = null;
      this.player.stage.arrange();
      this.player.requests.plan();
      this.player.saveUrl();
    }
    if (name === "overlay" || name === "bands" || name === "range") this.player.stage.paintScales();
    this.syncControls();
    this.player.stage.invalidate(true);
  }

  syncControls() {
    for (const el of this.player.root.querySelectorAll("[data-pref]")) el.value = this.player.prefs[el.dataset.pref];
    const h = this.player.scene && this.player.scene.header;
    if (!h) return;
    const overlay = this.player.root.querySelector('[data-pref="overlay"]');
    for (const o of [...overlay.options]) {
      if (o.value.startsWith("ac.") && !h.acoustic.some((a) => `ac.${a.kind}` === o.value)) o.remove();
    }
    for (const a of h.acoustic) {
      if (![...overlay.options].some((o) => o.value === `ac.${a.kind}`)) {
        const o = document.createElement("option");
        o.value = `ac.${a.kind}`;
        o.textContent = a.title;
        overlay.append(o);
      }
    }
    const { tables } = this.player.scene, { overlay: chosen, systemKeys } = this.player;
    for (const o of [...overlay.options]) if (/^[A-KM-Z]$/.test(o.value)) o.remove();
    const before = [...overlay.options].find((o) => o.value.startsWith("ac.")) || null;
    for (const t of h.has.video ? tables : []) if (t !== "L") overlay.add(new Option(`prediction ${t}`, t), before);
    const option = (v, ok) => {
      const o = overlay.querySelector(`option[value="${v}"]`);
      o.hidden = o.disabled = !ok;
    };
    option("L", h.has.video && tables.includes("L"));
    option("none", h.has.video || chosen === "none" || tables.length > 0);
    overlay.value = chosen;
    this.player.ref.overText.textContent = h.has.video ? "Over video" : "Sound map";
    this.player.ref.mapsLabel.hidden = this.player.ref.oneSource.hidden = !tables.length;
    overlay.parentElement.hidden = !h.has.video && !h.acoustic.length;
    const [kind] = this.player.acousticKinds;
    for (const label of [this.player.ref.acLabel, this.player.ref.rangeLabel]) label.hidden = !kind;
    if (kind) this.player.ref.ownRange.textContent = `${RANGE_DB[kind]} dB (default)`;
    this.player.root.querySelector('[data-pref="opacity"]').parentElement.hidden = chosen === "none";
    this.nameChoices();
    this.layoutButtons(systemKeys, h.systems);
    this.player.root.querySelector('[data-act="merged"]').classList.toggle("on", !this.player.isolate);
    this.player.root.querySelector('[data-act="single"]').classList.toggle("on", !!this.player.isolate);
    this.player.root.querySelector('[data-act="tags"]').classList.toggle("on", this.player.showTags);
    this.player.root.querySelector('[data-act="look"]').classList.toggle("on", this.player.prefs.look);
    this.player.root.querySelector('[data-act="loop"]').classList.toggle("on", this.player.loopOn);
    this.player.root
      .querySelector('[data-act="mute"]')
      .classList.toggle("muted", this.player.sound.muted || !h.has.audio);
    this.player.root.querySelector('[data-act="mute"]').disabled = !h.has.audio;
    this.player.root.querySelector('[data-act="play"]').classList.toggle("playing", this.player.playing);
    this.player.hearing.show();
    this.player.ref.zoom.textContent = `${
      this.player.view.z < 9.95
        ? this.player.view.z.toFixed(this.player.view.z < 1.05 ? 0 : 1)
        : this.player.view.z.toFixed(0)
    }×`;
  }

  // Where room is short the end of a choice is cut off: the whole of it is in its title.
  nameChoices() {
    for (const el of this.player.root.querySelectorAll("label > select[data-pref]")) {
      const [option] = el.selectedOptions, about = el.parentElement.title;
      el.title = option ? [about, option.text].filter(Boolean).join(": ") : about;
    }
  }

  // One button for each system, one for two side by side, one for all of them.
  layoutButtons(keys, systems) {
    const box = this.player.ref.layout, layouts = layoutsOf(keys);
    box.hidden = keys.length < 2;
    if (box.dataset.layouts !== layouts.join()) {
      box.dataset.layouts = layouts.join();
      box.replaceChildren(
        ...layouts.map((v) => {
          const b = document.createElement("button");
          Object.assign(b.dataset, { act: "layout", v });
          b.textContent = v === "AB" ? "A\u2009|\u2009B" : v === "ALL" ? "All" : v;
          return b;
        }),
      );
    }
    for (const b of box.children) {
      const { v } = b.dataset;
      b.classList.toggle("on", v === this.player.layout);
      b.title =
        v === "AB" ? "Both systems side by side" : v === "ALL" ? "All systems, small" : (systems[v] || {}).title || "";
    }
  }

  act(name, value) {
    const d = { back: -1, next: 1, back10: -10, next10: 10 };
    if (name in d) this.player.step(d[name]);
    else if (name === "home") this.player.seek(0);
    else if (name === "end") this.player.seek(this.player.nFrames - 1);
    else if (name === "play") this.player.transport.toggle();
    else if (name === "nextError") this.player.jumpError(1);
    else if (name === "prevError") this.player.jumpError(-1);
    else if (name === "tab") this.player.eventList.show(value === "events");
    else if (name === "eventKind") this.player.eventList.toggleKind(value);
    else if (name === "zoomIn") this.player.zoomAt(1.5);
    else if (name === "zoomOut") this.player.zoomAt(1 / 1.5);
    else if (name === "zoomReset") this.player.resetView();
    else if (name === "layout") this.player.setLayout(value);
    else if (name === "merged") this.player.sources.setIsolate(null);
    else if (name === "single") this.player.sources.cycleSource();
    else if (name === "loop") {
      if (!this.player.loop) {
        this.player.setLoop(this.player.frame, Math.min(this.player.nFrames, this.player.frame + 5 * this.player.fps));
      } else {
        this.player.loopOn = !this.player.loopOn;
        this.player.timeline.dirty = true;
      }
      this.syncControls();
      this.player.stage.invalidate();
      this.player.saveUrl();
    } else if (name === "mute") {
      this.player.sound.mute(!this.player.sound.muted);
      this.syncControls();
    } else if (name === "hear") this.player.hearing.openMenu(this.player.ref.hearMenu.hidden);
    else if (name === "listen") this.player.hearing.choose(value);
    else if (name === "ears") this.player.hearing.toggleEars();
    else if (name === "tags") {
      this.player.showTags = !this.player.showTags;
      this.syncControls();
      this.player.stage.invalidate(true);
    } else if (name === "look") this.setPref("look", !this.player.prefs.look);
    else if (name === "save") this.player.stage.savePicture();
    else if (name === "help") this.player.ref.help.hidden = !this.player.ref.help.hidden;
  }

  // Where keys have a meaning outside, too: those pressed in the player are the player's.
  onOwnKey(e) {
    if (!e.composedPath().includes(this.player.root)) return;
    this.onKey(e);
    if (!e.ctrlKey && !e.metaKey && !e.altKey) e.stopPropagation();
  }

  onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !this.player.scene || !this.player.root.isConnected) return;
    const target = e.composedPath()[0], range = target instanceof HTMLInputElement && target.type === "range";
    if (!range && target instanceof Element && (isField(target) || target.closest(OWN_KEYS))) return;
    if (
      target instanceof HTMLButtonElement &&
      !this.player.root.contains(target) &&
      (e.key === " " || e.key === "Enter")
    ) {
      return;
    }
    if (range && e.key.startsWith("Arrow")) return;
    const k = e.key,
      keys = {
        ArrowLeft: () => this.player.step(e.shiftKey ? -10 : -1),
        ArrowRight: () => this.player.step(e.shiftKey ? 10 : 1),
        " ": () => this.player.transport.toggle(),
        Home: () => this.player.seek(0),
        End: () => this.player.seek(this.player.nFrames - 1),
        n: () => this.player.jumpError(1),
        p: () => this.player.jumpError(-1),
        e: () => this.player.jumpError(1),
        E: () => this.player.jumpError(-1),
        "+": () => this.player.zoomAt(1.5),
        "=": () => this.player.zoomAt(1.5),
        "-": () => this.player.zoomAt(1 / 1.5),
        "−": () => this.player.zoomAt(1 / 1.5),
        0: () => this.player.resetView(),
        m: () => (this.player.isolate ? this.player.sources.setIsolate(null) : this.player.sources.cycleSource()),
        o: () => this.act("tags"),
        v: () => this.act("look"),
        s: () => this.player.stage.savePicture(),
        l: () => this.act("loop"),
        "[": () =>
          this.player.setLoop(
            this.player.frame,
            Math.max(this.player.frame + 1, this.player.loop ? this.player.loop[1] : this.player.nFrames),
          ),
        "]": () =>
          this.player.setLoop(
            Math.min(this.player.loop ? this.player.loop[0] : 0, this.player.frame),
            this.player.frame + 1,
          ),
        a: () => this.player.hearing.choose("all"),
        w: () => this.player.hearing.choose("point"),
        t: () => this.player.hearing.choose("solo"),
        r: () => this.player.hearing.choose("around"),
        b: () => this.player.hearing.nextBeam(),
        h: () => this.player.hearing.toggleEars(),
        "?": () => this.act("help"),
        Escape: () => {
          if (!this.player.ref.hearMenu.hidden) this.player.hearing.openMenu(false);
          else if (!this.player.ref.help.hidden) this.player.ref.help.hidden = true;
          else if (this.player.isolate) this.player.sources.setIsolate(null);
          else if (this.player.max) this.player.maximise(this.player.max);
        },
      };
    let fn = keys[k];
    if (!fn && /^[1-9]$/.test(k)) {
      const kinds = this.player.order();
      if (kinds[k - 1]) fn = () => this.player.maximise(kinds[k - 1]);
    }
    if (!fn) return;
    e.preventDefault();
    e.stopPropagation();
    this.player.keyAt = e.timeStamp;
    fn();
  }
}
