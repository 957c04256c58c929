// @ts-check
// What is heard, as the address says it.

import { BEAMS } from "./harmonics.js";

/** @typedef {{mode: string, azimuth: number, elevation: number, beam: string, ears: boolean}} Heard */

/** All directions, where one points, one source, everything but it. */
export const MODES = ["all", "point", "solo", "around"];

/** What is heard as words of the address; "" for all directions as they are. @param {Heard} heard */
export function writtenHeard({ mode, azimuth, elevation, beam, ears }) {
  if (mode === "all" && !ears) return "";
  const where = mode === "point" ? [azimuth.toFixed(1), elevation.toFixed(1)].map(Number) : ["", ""];
  return [mode, ...where, mode === "point" ? beam : "", ears ? "ears" : ""].join("*");
}

/** What an address says is heard, or null. @param {string} words @returns {Heard | null} */
export function readHeard(words) {
  const [mode, azimuth, elevation, beam, ears] = words.split("*"), at = [Number(azimuth), Number(elevation)];
  if (!MODES.includes(mode) || !at.every(Number.isFinite) || Math.abs(at[0]) > 180 || Math.abs(at[1]) > 90) return null;
  return {
    mode, azimuth: at[0], elevation: at[1], beam: BEAMS.includes(beam) ? beam : BEAMS[0], ears: ears === "ears",
  };
}
