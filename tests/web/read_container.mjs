// Prints what the scripts read from a container and a block, as JSON.
import { readFileSync } from "node:fs";

import { Block, unpack } from "../../pages/components/web/protocol.js";

const [container, block] = process.argv.slice(2).map((path) => new Uint8Array(readFileSync(path)));
const { header, arrays } = unpack(container);
const decoded = await Block.decode(block);
const patches = decoded.frames.map((_, frame) =>
  decoded.patchesOf(decoded.start + frame).map(({ row, w, h, offset }) => ({
    row,
    peak: Math.max(...decoded.values.subarray(offset, offset + w * h)),
  })),
);
const lists = Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, [...values]]));
console.log(JSON.stringify({ header, arrays: lists, patches }));
