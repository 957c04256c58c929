// @ts-check
// Buttons, lists and keys of the player.

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
  bands: "median",
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
    if (name === "cmap") {
      this.player.stage.paintScales();
      if (this.player.timeline.spectrogram) this.player.paintSpectrogram();
    }
    if (name === "scale") this.player.stage.paintScales();
    if (name === "rate" && this.player.playing) {
      this.player.transport.pause();
      this.player.transport.play();
    }
    if (name === "overlay") {
      this.player.requests.plan();
      this.player.saveUrl();
    }
    if (name === "overlay" || name === "bands") this.player.stage.paintScales();
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
    const option = (v, ok) => {
      const o = this.player.root.querySelector(`[data-pref="overlay"] option[value="${v}"]`);
      o.hidden = o.disabled = !ok;
    };
    option("L", h.has.labels);
    option("A", !!h.systems.A);
    option("B", !!h.systems.B);
    overlay.value = this.player.overlay;
    this.player.ref.acLabel.style.display = this.player.acousticKind ? "" : "none";
    this.player.root.querySelector('[data-pref="opacity"]').disabled = this.player.overlay === "none";
    this.player.ref.layout.hidden = !h.systems.B;
    for (const b of this.player.root.querySelectorAll('[data-act="layout"]')) {
      b.classList.toggle("on", b.dataset.v === this.player.layout);
      b.title = b.dataset.v === "AB" ? "Both systems side by side" : (h.systems[b.dataset.v] || {}).title || "";
    }
    this.player.root.querySelector('[data-act="merged"]').classList.toggle("on", !this.player.isolate);
    this.player.root.querySelector('[data-act="single"]').classList.toggle("on", !!this.player.isolate);
    this.player.root.querySelector('[data-act="tags"]').classList.toggle("on", this.player.showTags);
    this.player.root.querySelector('[data-act="loop"]').classList.toggle("on", this.player.loopOn);
    this.player.root
      .querySelector('[data-act="mute"]')
      .classList.toggle("muted", this.player.sound.muted || !h.has.audio);
    this.player.root.querySelector('[data-act="mute"]').disabled = !h.has.audio;
    this.player.root.querySelector('[data-act="play"]').classList.toggle("playing", this.player.playing);
    this.player.ref.zoom.textContent = `${
      this.player.view.z < 9.95
        ? this.player.view.z.toFixed(this.player.view.z < 1.05 ? 0 : 1)
        : this.player.view.z.toFixed(0)
    }×`;
  }

  act(name, value) {
    const d = { back: -1, next: 1, back10: -10, next10: 10 };
    if (name in d) this.player.step(d[name]);
    else if (name === "home") this.player.seek(0);
    else if (name === "end") this.player.seek(this.player.nFrames - 1);
    else if (name === "play") this.player.transport.toggle();
    else if (name === "nextError") this.player.jumpError(1);
    else if (name === "prevError") this.player.jumpError(-1);
    else if (name === "zoomIn") this.player.zoomAt(1.5);
    else if (name === "zoomOut") this.player.zoomAt(1 / 1.5);
    else if (name === "zoomReset") this.player.resetView();
    else if (name === "layout") {
      this.player.layout = value;
      this.player.max = null;
      this.player.sources.refreshErrors();
      this.syncControls();
      this.player.stage.arrange();
      this.player.saveUrl();
    } else if (name === "merged") this.player.sources.setIsolate(null);
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
    } else if (name === "tags") {
      this.player.showTags = !this.player.showTags;
      this.syncControls();
      this.player.stage.invalidate(true);
    } else if (name === "save") this.player.stage.savePicture();
    else if (name === "help") this.player.ref.help.hidden = !this.player.ref.help.hidden;
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
        "?": () => this.act("help"),
        Escape: () => {
          if (!this.player.ref.help.hidden) this.player.ref.help.hidden = true;
          else if (this.player.isolate) this.player.sources.setIsolate(null);
          else if (this.player.max) this.player.maximise(this.player.max);
        },
      };
    let fn = keys[k];
    if (!fn && /^[1-6]$/.test(k)) {
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
