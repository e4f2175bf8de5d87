// Frames of the 3D view. The layout of the bytes is described in toolkit/figures/structures.py.

const CHUNK_BYTES = 1 << 20;
const MAX_CHUNKS = 96;

// The header of a scene; `records` are its frames, none when they are fetched from `address`.
function unpack(bytes) {
  const copy = bytes.slice().buffer; // starts at 0, so that the float array is aligned
  const headerLength = new DataView(copy).getUint32(0, true);
  const scene = JSON.parse(new TextDecoder().decode(new Uint8Array(copy, 4, headerLength)));
  scene.records = new Float32Array(copy, 4 + headerLength);
  const atoms = scene.symbols.length;
  let size = 1;
  const place = (count) => (size += count) - count;
  scene.positionsAt = place(3 * atoms);
  scene.cellAt = place(scene.periodic ? 9 : 0);
  for (const arrows of scene.arrows) {
    arrows.startsAt = place(3 * arrows.count);
    arrows.vectorsAt = place(3 * arrows.count);
  }
  for (const coloring of scene.colorings) coloring.valuesAt = place(atoms);
  scene.recordSize = size;
  return scene;
}

// The frames of a scene by number: those that came with the page, or pieces of a file fetched when they are needed.
class Frames {
  constructor(scene) {
    this.address = scene.address;
    this.size = scene.recordSize;
    this.chunkFrames = scene.address ? Math.max(1, Math.floor(CHUNK_BYTES / (4 * this.size))) : Infinity;
    this.chunks = new Map(); // the piece used last is at the end
    this.coming = new Map();
    this.grow(scene);
  }

  // The same frames after a rerun, or more of them while a simulation runs.
  grow(scene) {
    this.count = scene.frames;
    if (!this.address) this.chunks.set(0, scene.records);
  }

  // The record of a frame, or undefined while it is not here.
  get(frame) {
    const which = this.address ? Math.floor(frame / this.chunkFrames) : 0;
    const start = (frame - which * (this.address ? this.chunkFrames : 0)) * this.size;
    const chunk = this.chunks.get(which);
    return chunk && start + this.size <= chunk.length ? chunk.subarray(start, start + this.size) : undefined;
  }

  // Fetch the piece with a frame, unless it is here or on its way.
  load(frame) {
    if (frame >= this.count || this.get(frame)) return Promise.resolve();
    const which = Math.floor(frame / this.chunkFrames);
    if (!this.coming.has(which)) {
      this.coming.set(which, this.fetchChunk(which).finally(() => this.coming.delete(which)));
    }
    return this.coming.get(which);
  }

  async fetchChunk(which) {
    const first = which * this.chunkFrames;
    const start = 4 * this.size * first;
    const end = 4 * this.size * Math.min(first + this.chunkFrames, this.count);
    const response = await fetch(new URL(this.address, document.baseURI),
      { headers: { Range: `bytes=${start}-${end - 1}` }, cache: "no-store" });
    if (!response.ok) throw new Error("The server no longer keeps these frames. Reload the page to see them.");
    const bytes = await response.arrayBuffer();
    const whole = response.status === 200; // somebody on the way did not understand the range
    this.chunks.delete(which);
    this.chunks.set(which, new Float32Array(whole ? bytes.slice(start, end) : bytes));
    if (this.chunks.size > MAX_CHUNKS) this.chunks.delete(this.chunks.keys().next().value);
  }
}
