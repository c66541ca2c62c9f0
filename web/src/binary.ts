// The data blocks of report/embedding.py: base64 of zlib of [float16 per edge, one mask bit per edge].

/** Scores of one circuit's map relative to its largest absolute one, and which edges are in the circuit. */
export interface EdgeData {
  values: Float32Array;
  inside: Uint8Array;
  total: number; // sum of absolute scores; 1 where all are zero
}

let halves: Float32Array | undefined; // by their bits: blocks have many more numbers than there are halves

/** Decode one block for a graph of `edges` possible edges. */
export async function decodeEdges(text: string, edges: number): Promise<EdgeData> {
  const bytes = await inflate(fromBase64(text));
  if (bytes.length !== 2 * edges + Math.ceil(edges / 8)) {
    throw new Error(`a data block of ${bytes.length} bytes is not one of ${edges} edges`);
  }
  const values = new Float32Array(edges);
  const inside = new Uint8Array(edges);
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => fromHalf(bits));
  for (let edge = 0; edge < edges; edge++) {
    values[edge] = halves[bytes[2 * edge]! | (bytes[2 * edge + 1]! << 8)]!;
    inside[edge] = (bytes[2 * edges + (edge >> 3)]! >> (edge & 7)) & 1;
  }
  return { values, inside, total: total(values) };
}

/** Sum of absolute scores of a map, by which its shares are taken. */
export function total(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += Math.abs(value);
  return sum || 1;
}

/** The number whose IEEE 754 half-precision bits these are. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
