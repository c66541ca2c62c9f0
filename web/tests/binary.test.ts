import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { decodeEdges, fromHalf } from "../src/binary.ts";

test("half-precision bits become numbers", () => {
  const known: [number, number][] = [
    [0x0000, 0],
    [0x3c00, 1],
    [0xbc00, -1],
    [0x3555, 0.333251953125],
    [0x7bff, 65504],
    [0x0001, 2 ** -24],
    [0x0400, 2 ** -14],
    [0x7c00, Number.POSITIVE_INFINITY],
  ];
  for (const [bits, value] of known) assert.equal(fromHalf(bits), value);
});

test("a block decodes to scores and membership", async () => {
  // Ten edges: 1, -1, then zeros; members are edges 0 and 9.
  const bytes = Buffer.alloc(22);
  bytes.writeUInt16LE(0x3c00, 0);
  bytes.writeUInt16LE(0xbc00, 2);
  bytes[20] = 0b00000001;
  bytes[21] = 0b00000010;
  const data = await decodeEdges(deflateSync(bytes).toString("base64"), 10);
  assert.deepEqual([...data.values], [1, -1, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...data.inside], [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
});

test("a block of another graph is refused", async () => {
  await assert.rejects(
    decodeEdges(deflateSync(Buffer.alloc(22)).toString("base64"), 11),
    /not one of 11 edges/,
  );
});
