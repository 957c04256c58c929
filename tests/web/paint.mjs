// Prints the pixels that the scripts paint for the first frame of a block, as JSON: energy, residual and overlay.
import { readFileSync } from "node:fs";

import { compose, lutPixels, paintEnergy, paintOver, paintResidual } from "../../pages/components/web/painting.js";
import { Block } from "../../pages/components/web/protocol.js";

const [path, sequential, diverging, opacity] = process.argv.slice(2);
const block = await Block.decode(new Uint8Array(readFileSync(path)));
const [label, prediction] = [0, 1].map((table) => {
  const field = new Uint8Array(360 * 180);
  compose(block, block.start, table, () => true, field, 360);
  return field;
});
const paint = (draw) => {
  const out = new Uint32Array(360 * 180);
  draw(out);
  return [...out];
};
console.log(JSON.stringify({
  energy: paint((out) => paintEnergy(out, label, lutPixels(sequential), 1)),
  residual: paint((out) => paintResidual(out, label, prediction, lutPixels(diverging), 1, 1)),
  over: paint((out) => paintOver(out, label, lutPixels(sequential), 1, Number(opacity))),
}));
