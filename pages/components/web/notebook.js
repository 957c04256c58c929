// @ts-check
// The player as a widget of a notebook (anywidget): the widget's model carries what the app's page carries.

import { firstLayout, systemsIn } from "./layouts.js";
import { Player } from "./player.js";

/** What the model and a player say alike. */
const SHARED = ["frame", "system", "event"];
const LATE_MS = 5000;
const LATE = "No answer from the kernel: it is busy, or it was restarted (then run the cell again).";

/** Whose change of the model it is, while one of the players changes it. @type {Link | null} */
let mover = null;

/** Between the widget's model and one of the players that show it: a widget may be shown several times. */
export class Link {
  /** @param {any} model @param {any} player */
  constructor(model, player) {
    this.model = model;
    this.player = player;
    /** Answers come to all players of the model. */
    this.id = `${Math.random()}`.slice(2);
    /** The player has a scene, and shows what the model says. */
    this.ready = false;
    this.following = false;
    this.timer = undefined;
    this.onMessage = (message, buffers) => this.receive(message, buffers);
    this.onChange = () => this.follow();
    model.on("msg:custom", this.onMessage);
    for (const name of SHARED) model.on(`change:${name}`, this.onChange);
    player.frame = model.get("frame");
    player.moved = () => this.tell();
  }

  /** What the player asks for, as it asks Streamlit. @param {string} name @param {unknown} value */
  setStateValue(name, value) {
    this.model.send({ kind: name, from: this.id, value });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { player } = this;
      if (!player.scene || (player.nFrames && !player.blockOf(player.frame))) player.readout.note(LATE);
    }, LATE_MS);
  }

  /** @param {any} message @param {DataView[]} buffers */
  receive(message, buffers) {
    if (!message || message.kind !== "answer" || message.to !== this.id) return;
    clearTimeout(this.timer);
    const [{ buffer, byteOffset, byteLength }] = buffers;
    this.player.receive(this, new Uint8Array(buffer, byteOffset, byteLength));
    if (this.ready || !this.player.scene) return;
    this.ready = true;
    this.follow();
    this.tell();
  }

  /** Keys of prediction sets by their names. @returns {Record<string, string>} */
  get keys() {
    return Object.fromEntries(Object.entries(this.model.get("_systems")).map(([key, name]) => [name, key]));
  }

  /** What the player shows, as the model says it: no system where several are side by side. */
  get state() {
    const { frame, layout, systemKeys, isolate } = this.player, names = this.model.get("_systems");
    const shown = systemsIn(layout, systemKeys);
    const event = isolate && {
      of: isolate.table === "L" ? "labels" : names[isolate.table],
      category_id: isolate.category,
      instance_id: isolate.instance,
    };
    return { frame, system: shown.length === 1 ? names[shown[0]] : null, event: event || null };
  }

  /** Names of what the model and the player do not say alike. @param {any} state */
  differing(state) {
    return SHARED.filter((name) => {
      const ours = state[name], theirs = this.model.get(name);
      if (name !== "event" || !ours || !theirs) return ours !== theirs;
      return Object.keys(ours).some((key) => ours[key] !== theirs[key]); // an object's order is lost on the way
    });
  }

  /** The player has moved: the model, and with it Python, is told. */
  tell() {
    if (!this.ready || this.following) return;
    const { state, model } = this, names = this.differing(state);
    if (!names.length) return;
    mover = this;
    for (const name of names) model.set(name, state[name]);
    mover = null;
    model.save_changes();
  }

  /** The model has changed, by Python or by another player that shows it. */
  follow() {
    if (!this.ready || mover === this) return;
    const { model, player } = this, names = this.differing(this.state);
    if (mover) player.transport.pause(); // two that play would pull at the same frame
    this.following = true;
    if (names.includes("event")) {
      const event = model.get("event");
      player.sources.setIsolate(
        event && {
          table: event.of === "labels" ? "L" : this.keys[event.of],
          category: event.category_id,
          instance: event.instance_id,
        },
      );
    }
    if (names.includes("system")) {
      player.setLayout(this.keys[model.get("system")] || firstLayout(player.systemKeys));
    }
    if (names.includes("frame")) player.seek(model.get("frame"));
    this.following = false;
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.onMessage);
    for (const name of SHARED) this.model.off(`change:${name}`, this.onChange);
    this.model.send({ kind: "bye", from: this.id });
  }
}

/** @param {{model: any, el: HTMLElement}} place */
function render({ model, el }) {
  const host = document.createElement("div"), shadow = host.attachShadow({ mode: "open" });
  const style = document.createElement("style"), notes = document.createElement("div");
  style.textContent = model.get("_style");
  notes.className = "remarks";
  for (const sentence of model.get("problems")) {
    const line = document.createElement("p");
    line.textContent = sentence;
    notes.append(line);
  }
  const page = new DOMParser().parseFromString(model.get("_page"), "text/html");
  shadow.append(style, notes, ...page.body.children);
  host.className = "sai-player";
  host.style.setProperty("--sai-height", `${model.get("height")}px`);
  el.dataset.lmSuppressShortcuts = "true"; // with the focus here "d d" must not delete a cell
  el.append(host);
  const player = new Player(/** @type {any} */ (shadow), true), link = new Link(model, player);
  let timer = 0;
  const themed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => player.retheme(), 150);
  };
  const watch = new MutationObserver(themed);
  const attributeFilter = ["class", "style", "theme", "data-theme", "data-jp-theme-name", "data-vscode-theme-id"];
  for (const node of [document.documentElement, document.body]) watch.observe(node, { attributeFilter });
  player.receive(link, null);
  player.requests.plan();
  return () => {
    clearTimeout(timer);
    watch.disconnect();
    player.destroy();
    link.close();
  };
}

/** What anywidget asks for. */
export default function widget() {
  return { render };
}
