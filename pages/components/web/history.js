// @ts-check
// The browser's history: one entry for each step a user takes, none for what a page fills in by itself.
//
// Streamlit adds an entry whenever a script writes a parameter, also on arrival, so that Back would have to be pressed
// twice. So scripts say what the address must hold (pages/components/address.py) and it is written here.

import { openPage } from "./address.js";

let done = ""; // number of the message that was followed last
let navigating = false; // Back or Forward was pressed, and the script has not answered yet
let begun = false; // a run has begun since then
/** @type {any} */
let held = null; // message of an earlier run that came meanwhile

function pageNow(pages) {
  const last = location.pathname.split("/").pop();
  return pages.includes(last) ? last : "";
}

function follow(data, step) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(data.values)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  if (url.href !== location.href) {
    if (step) {
      for (const name of data.forget) url.searchParams.delete(name); // of the view that is left
      history.pushState({}, "", url);
    } else history.replaceState(history.state, "", url);
  }
  window.dispatchEvent(new Event("sai-address"));
}

// Whether a message says what the address says: an answer to this very step, and not to the one before it.
function agrees(data) {
  const query = new URLSearchParams(location.search);
  return Object.entries(data.values).every(([name, value]) => !query.has(name) || query.get(name) === value);
}

// At rest nothing else comes (a click was faster than the answer, or the address names what is not there): the address
// must name what is shown all the same.
function settle() {
  const app = document.querySelector("[data-testid=stApp]");
  if (!navigating || (app && app.getAttribute("data-test-script-state") !== "notRunning")) return;
  navigating = false;
  if (held) follow(held, false);
  held = null;
}

let timer = 0;
// Where no run has begun yet, an earlier one may have ended just now, and what it says is of the view that was left.
function settleSoon() {
  clearTimeout(timer);
  timer = setTimeout(settle, begun ? 400 : 5000);
}

window.addEventListener("popstate", () => {
  navigating = true;
  begun = false;
  held = null;
  settleSoon();
});
new MutationObserver((records) => {
  if (!navigating) return;
  begun ||= records.some((record) => record.oldValue === "notRunning");
  settleSoon();
}).observe(document.body, {
  subtree: true,
  attributes: true,
  attributeOldValue: true,
  attributeFilter: ["data-test-script-state"],
});

/** @param {any} component What Streamlit hands a component of its second kind. */
export default function mount({ data }) {
  if (!data || data.n === done) return;
  done = data.n;
  if (data.go) {
    openPage(data.go, data.replace);
    return;
  }
  if (data.page !== pageNow(data.pages)) return; // of a page that was left meanwhile
  if (navigating && !(data.history && agrees(data))) {
    held = data;
    return;
  }
  navigating = false;
  held = null;
  follow(data, data.step);
}
