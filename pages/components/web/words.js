// @ts-check
// What several parts of the page say alike.

export const ERROR_KINDS = ["missed", "false positive", "confusion"];

/** Minutes and seconds. @param {number} seconds @param {number} digits */
export function clock(seconds, digits) {
  const minutes = Math.floor(seconds / 60 + 1e-9);
  const rest = Math.max(0, seconds - minutes * 60);
  return `${minutes}:${rest.toFixed(digits).padStart(digits ? 3 + digits : 2, "0")}`;
}

const FIELDS = "input, textarea, select, [contenteditable=true], [role=combobox], [role=textbox]";

/** Whether keys pressed at an element are for the element. @param {EventTarget} target */
export function isField(target) {
  return target instanceof Element && target.matches(FIELDS);
}
