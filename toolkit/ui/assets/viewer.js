// The 3D view of the app: one component for structures and trajectories, drawn by 3Dmol.js (Rego and Koes,
// Bioinformatics 31, 1322, 2015). Streamlit calls the default export at every rerun with the same parentElement, so
// the player lives in `players` and keeps its camera and frame; sessionStorage keeps them across page changes.

const players = new WeakMap();
const everyone = new Set();
const icon = (path) => `<svg viewBox="0 0 16 16" width="14" height="14" fill="currentColor"><path d="${path}"/></svg>`;
const PLAY = icon("M3 1l11 7-11 7z");
const PAUSE = icon("M3 1h4v14H3zM9 1h4v14H9z");
const BALL_AND_STICK = { stick: { radius: 0.14, colorscheme: "Jmol" }, sphere: { scale: 0.26, colorscheme: "Jmol" } };
const SLENDER = { stick: { radius: 0.08, colorscheme: "Jmol" }, sphere: { scale: 0.18, colorscheme: "Jmol" } };
const BALLS = { sphere: { scale: 0.45, colorscheme: "Jmol" } };

export default function ({ parentElement, data }) {
  let player = players.get(parentElement);
  if (!player) {
    player = new Player(parentElement.querySelector(".viewer"));
    players.set(parentElement, player);
  }
  player.show(unpack(data));
  return () => {
    players.delete(parentElement);
    player.dispose();
  };
}

// The layout is described in toolkit/figures/structures.py.
function unpack(bytes) {
  const copy = bytes.slice().buffer; // starts at 0, so that the float arrays are aligned
  const headerLength = new DataView(copy).getUint32(0, true);
  const scene = JSON.parse(new TextDecoder().decode(new Uint8Array(copy, 4, headerLength)));
  let offset = 4 + headerLength;
  const take = (count) => {
    const numbers = new Float32Array(copy, offset, count);
    offset += 4 * count;
    return numbers;
  };
  scene.positions = take(scene.frames * scene.symbols.length * 3);
  scene.cellVectors = take(scene.cells * 9);
  for (const arrows of scene.arrows) {
    arrows.starts = take(scene.frames * arrows.count * 3);
    arrows.vectors = take(scene.frames * arrows.count * 3);
  }
  return scene;
}

function loadLibrary(address) {
  window.toolkit3Dmol ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI);
    script.onload = () => resolve(window.$3Dmol);
    script.onerror = () => {
      window.toolkit3Dmol = undefined;
      reject(new Error(`The 3D library could not be loaded from ${script.src}. Run scripts/fetch_viewer.sh once.`));
    };
    document.head.append(script);
  });
  return window.toolkit3Dmol;
}

function hasWebGL() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return Boolean(context);
}

class Player {
  constructor(root) {
    this.root = root;
    for (const name of ["stage", "notice", "controls", "play", "frame", "label", "speed"]) {
      this[name] = root.querySelector(`.${name}`);
    }
    everyone.add(this);
    this.current = 0;
    this.playing = false;
    this.play.innerHTML = PLAY;
    this.play.onclick = () => this.toggle();
    this.frame.oninput = () => this.draw(Number(this.frame.value));
    this.frame.onchange = () => this.remember();
    this.stage.addEventListener("pointerup", () => this.remember());
    this.stage.addEventListener("wheel", () => this.remember(), { passive: true });
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
  }

  async show(scene) {
    this.scene = scene;
    this.say(scene.notice);
    this.stage.style.setProperty("--stage-height", `${scene.height}px`);
    this.controls.hidden = scene.frames < 2;
    this.frame.max = scene.frames - 1;
    try {
      if (!this.viewer && !hasWebGL()) {
        throw new Error("This browser offers no WebGL 2, so structures cannot be drawn. Switch on hardware "
          + "acceleration, or use a recent Firefox, Chrome, Edge or Safari.");
      }
      const library = await loadLibrary(scene.library);
      if (this.disposed || scene !== this.scene) return; // a newer rerun took over while the library loaded
      if (!this.viewer) {
        this.viewer = library.createViewer(this.stage, { backgroundAlpha: 0, disableFog: true, antialias: true });
        this.viewer.setViewChangeCallback((camera) => this.lead(camera));
      }
    } catch (error) {
      this.say(error.message ?? String(error));
      return;
    }
    this.rebuild();
  }

  rebuild() {
    const { scene, viewer } = this;
    const identity = `${scene.view} ${scene.symbols.join(" ")}`;
    if (identity !== this.identity) {
      const kept = recall(scene.view);
      viewer.clear();
      this.model = viewer.addModel();
      this.model.addAtoms(this.atomList());
      this.atoms = this.model.selectedAtoms({});
      this.current = Math.min(kept.frame ?? 0, scene.frames - 1);
      this.draw(this.current);
      viewer.zoomTo();
      viewer.zoom(1.1);
      if (kept.camera) viewer.setView(kept.camera);
      this.identity = identity;
    }
    this.cellShown = undefined;
    this.draw(Math.min(this.current, scene.frames - 1));
  }

  atomList() {
    const bonds = this.scene.symbols.map(() => []);
    for (const [i, j] of this.scene.bonds) {
      bonds[i].push(j);
      bonds[j].push(i);
    }
    return this.scene.symbols.map((elem, i) => (
      { elem, x: 0, y: 0, z: 0, bonds: bonds[i], bondOrder: bonds[i].map(() => 1) }));
  }

  draw(frame) {
    if (!this.atoms) return;
    const { positions, labels, frames, symbols, bonds, arrows } = this.scene;
    const start = frame * symbols.length * 3;
    this.atoms.forEach((atom, i) => {
      atom.x = positions[start + 3 * i];
      atom.y = positions[start + 3 * i + 1];
      atom.z = positions[start + 3 * i + 2];
    });
    const bonded = arrows.length ? SLENDER : BALL_AND_STICK; // room for the arrows
    this.model.setStyle({}, bonds.length ? bonded : BALLS); // also tells 3Dmol to build the model anew
    this.drawShapes(frame);
    this.viewer.render();
    this.current = frame;
    this.frame.value = frame;
    this.label.textContent = labels[frame] ?? `frame ${frame + 1} of ${frames}`;
    this.root.dataset.frame = frame;
  }

  // The cell and the arrows. A cell that stays is not drawn again: that would slow down long trajectories.
  drawShapes(frame) {
    const { cells, arrows } = this.scene;
    const cell = Math.min(frame, cells - 1);
    if (!arrows.length && cell === this.cellShown) return;
    this.viewer.removeAllShapes();
    if (cells) this.drawCell(cell);
    for (const set of arrows) this.drawArrows(set, frame);
    this.cellShown = cell;
  }

  drawCell(which) {
    const row = (k) => Array.from(this.scene.cellVectors.subarray(9 * which + 3 * k, 9 * which + 3 * k + 3));
    for (const [start, end] of boxEdges(row(0), row(1), row(2))) {
      this.viewer.addCylinder({ start, end, radius: 0.04, color: "#7F8C99" });
    }
  }

  drawArrows({ starts, vectors, count, color, radius, heads }, frame) {
    const shape = this.viewer.addShape({ color });
    for (let k = 3 * count * frame; k < 3 * count * (frame + 1); k += 3) {
      const [x, y, z] = starts.subarray(k, k + 3);
      const [u, v, w] = vectors.subarray(k, k + 3);
      const length = Math.hypot(u, v, w);
      if (length < radius) continue; // shorter than thick
      const line = { start: { x, y, z }, end: { x: x + u, y: y + v, z: z + w }, radius, color };
      const head = Math.min(4 * radius, 0.6 * length);
      if (heads) shape.addArrow({ ...line, radiusRatio: 2.2, mid: 1 - head / length });
      else shape.addCylinder({ ...line, fromCap: 1, toCap: 1 });
    }
  }

  toggle() {
    this.playing = !this.playing;
    this.play.innerHTML = this.playing ? PAUSE : PLAY;
    if (!this.playing) return this.remember();
    this.due = performance.now();
    const tick = (now) => {
      if (!this.playing || this.disposed) return;
      const period = 1000 / Number(this.speed.value);
      if (now >= this.due) {
        this.due = Math.max(this.due + period, now);
        this.step(1);
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // Space plays and pauses wherever it has no other meaning; the arrows step while the view has the focus.
  key(event) {
    const target = event.composedPath()[0];
    const widgets = "input, textarea, select, button, a, [contenteditable], [role]";
    const busy = target !== this.frame && target.closest?.(widgets);
    if (this.controls.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code === "Space" && (!busy || busy === this.root)) this.toggle();
    else if (target === this.root && event.code === "ArrowRight") this.step(1);
    else if (target === this.root && event.code === "ArrowLeft") this.step(-1);
    else return;
    event.preventDefault();
  }

  step(by) {
    this.draw((this.current + by + this.scene.frames) % this.scene.frames);
  }

  say(text) {
    this.notice.textContent = text ?? "";
    this.notice.hidden = !text;
  }

  // Views of one group turn together: whoever moves tells the others, and those who look that way already stay still.
  lead(camera) {
    for (const other of everyone) {
      if (other === this || !this.scene.group || other.scene?.group !== this.scene.group || !other.viewer) continue;
      const now = other.viewer.getView();
      if (camera.some((value, k) => value !== now[k])) other.viewer.setView(camera);
    }
  }

  remember() {
    if (!this.viewer) return;
    const kept = { camera: this.viewer.getView(), frame: this.current };
    sessionStorage.setItem(`toolkit.${this.scene.view}`, JSON.stringify(kept));
  }

  dispose() {
    this.remember();
    this.disposed = true;
    everyone.delete(this);
    document.removeEventListener("keydown", this.onKey);
    this.viewer?.clear();
    this.stage.replaceChildren();
  }
}

function recall(view) {
  return JSON.parse(sessionStorage.getItem(`toolkit.${view}`) ?? "{}");
}

function boxEdges(a, b, c) {
  const at = (axis, i, j, k) => i * a[axis] + j * b[axis] + k * c[axis];
  const corner = (i, j, k) => ({ x: at(0, i, j, k), y: at(1, i, j, k), z: at(2, i, j, k) });
  const edges = [];
  for (const u of [0, 1]) {
    for (const v of [0, 1]) {
      edges.push([corner(0, u, v), corner(1, u, v)]);
      edges.push([corner(u, 0, v), corner(u, 1, v)]);
      edges.push([corner(u, v, 0), corner(u, v, 1)]);
    }
  }
  return edges;
}
