import assert from "node:assert/strict";
import test from "node:test";

/** A browser's history, as far as the script uses it. */
class Browser extends EventTarget {
  constructor() {
    super();
    this.entries = ["http://h/explorer?rec=a&frame=5"];
    this.at = 0;
    this.state = "notRunning";
    this.told = 0;
    this.addEventListener("sai-address", () => (this.told += 1));
  }

  get location() {
    return new URL(this.entries[this.at]);
  }

  get history() {
    return {
      state: {},
      pushState: (_, __, url) => (this.entries = [...this.entries.slice(0, ++this.at), String(url)]),
      replaceState: (_, __, url) => (this.entries[this.at] = String(url)),
    };
  }

  run() {
    this.become("running");
  }

  end() {
    this.become("notRunning");
  }

  become(state) {
    const oldValue = this.state;
    this.state = state;
    changed([{ oldValue }]);
  }

  back() {
    this.at -= 1;
    this.dispatchEvent(new Event("popstate"));
  }
}

const browser = new Browser();
/** @type {(records: {oldValue: string}[]) => void} */
let changed = () => {};
globalThis.window = browser;
globalThis.PopStateEvent = class extends Event {};
globalThis.document = { body: {}, querySelector: () => ({ getAttribute: () => browser.state }) };
for (const name of ["location", "history"]) Object.defineProperty(globalThis, name, { get: () => browser[name] });
globalThis.MutationObserver = class {
  constructor(fn) {
    changed = fn;
  }

  observe() {}
};
const { default: mount } = await import("../../pages/components/web/history.js");

let n = 0;
const PAGES = ["", "explorer", "review"];
const say = (values, more = {}) => {
  n += 1;
  const plain = { page: "explorer", pages: PAGES, step: false, history: false, forget: ["frame"] };
  mount({ data: { n: `${n}`, values, ...plain, ...more } });
};
const query = () => browser.location.search;
const rest = () => new Promise((resolve) => setTimeout(resolve, 500));

test("what a page fills in is no step, a choice is one, and forgets the moment of the view before", () => {
  say({ rec: "a", b: "none", root: null });
  assert.equal(browser.entries.length, 1);
  assert.equal(query(), "?rec=a&frame=5&b=none");
  assert.equal(browser.told, 1);
  say({ rec: "b", b: "none", root: null }, { step: true });
  assert.equal(browser.entries.length, 2);
  assert.equal(query(), "?rec=b&b=none");
  say({ rec: "b", b: "none", root: null }, { step: true }); // nothing has changed
  assert.equal(browser.entries.length, 2);
});

test("a message of another page, and one that was followed already, change nothing", () => {
  say({ rec: "x" }, { page: "review", step: true });
  mount({ data: { n: `${n}`, page: "explorer", pages: PAGES, values: { rec: "x" }, step: true, forget: [] } });
  mount({ data: null });
  assert.equal(query(), "?rec=b&b=none");
});

test("after Back an answer to an earlier run changes nothing, the one to Back does", () => {
  browser.back();
  assert.equal(query(), "?rec=a&frame=5&b=none");
  browser.run();
  say({ rec: "b", b: "none" }, { step: true }); // was on its way
  say({ rec: "b", b: "none" }, { history: true }); // of the Back before this one
  assert.equal(query(), "?rec=a&frame=5&b=none");
  say({ rec: "a", b: "none", extra: "1" }, { history: true });
  assert.equal(query(), "?rec=a&frame=5&b=none&extra=1");
  assert.equal(browser.entries.length, 2);
  browser.end();
});

test("an answer that never comes: the address names what is shown once all is at rest", async () => {
  browser.at = 1;
  browser.back();
  browser.run();
  say({ rec: "gone", b: "none" }, { history: true });
  await rest();
  assert.equal(query(), "?rec=a&frame=5&b=none&extra=1");
  browser.end();
  await rest();
  assert.equal(query(), "?rec=gone&frame=5&b=none&extra=1");
  assert.equal(browser.entries.length, 2);
});

test("after Back the end of an earlier run changes nothing, however late the answer begins", async () => {
  browser.entries = ["http://h/explorer?rec=a&frame=5", "http://h/explorer?rec=b&frame=7"];
  browser.at = 1;
  browser.run();
  browser.back();
  say({ rec: "b" }); // was on its way
  browser.end();
  await rest();
  assert.equal(query(), "?rec=a&frame=5");
  browser.run();
  say({ rec: "a", b: "none" }, { history: true });
  browser.end();
  assert.equal(query(), "?rec=a&frame=5&b=none");
});

test("a button to a moment is one step, or none where the page is not to be returned to", () => {
  let steps = 0;
  browser.addEventListener("popstate", () => (steps += 1));
  browser.at = 1;
  mount({ data: { n: "go 1", go: "./explorer?rec=z", replace: false } });
  assert.deepEqual([browser.entries.length, browser.entries[2], steps], [3, "http://h/explorer?rec=z", 1]);
  mount({ data: { n: "go 2", go: "./review?item=1", replace: true } });
  assert.deepEqual([browser.entries.length, browser.entries[2], steps], [3, "http://h/review?item=1", 2]);
  mount({ data: { n: "go 2", go: "./review?item=1", replace: true } }); // drawn once more
  assert.equal(steps, 2);
});
