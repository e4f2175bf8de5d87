// The 3D view of the app: one component for structures and trajectories, drawn by 3Dmol.js (Rego and Koes,
// Bioinformatics 31, 1322, 2015). Streamlit calls the default export at every rerun with the same parentElement, so
// the player lives in `players` and keeps its camera and frame; sessionStorage keeps them across page changes.

const players = new WeakMap();
const everyone = new Set();
const icon = (path) => `<svg viewBox="0 0 16 16" width="14" height="14" fill="currentColor"><path d="${path}"/></svg>`;
const PLAY = icon("M3 1l11 7-11 7z");
const PAUSE = icon("M3 1h4v14H3zM9 1h4v14H9z");
const CAMERA = icon("M5 3l1-2h4l1 2h4v11H1V3zM8 5a3.5 3.5 0 100 7 3.5 3.5 0 000-7z");
const FILM = icon("M1 3h10v3.5L15 4v8l-4-2.5V13H1z");
const BALL_AND_STICK = { stick: { radius: 0.14 }, sphere: { scale: 0.26 } };
const SLENDER = { stick: { radius: 0.08 }, sphere: { scale: 0.18 } };
const BALLS = { sphere: { scale: 0.45 } };
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // dark is small
const PARTS = ["stage", "notice", "tools", "coloring", "picture", "movie", "legend", "bar", "top", "controls", "play",
  "frame", "label", "speed"];

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

// Our own copy of the library, else that of the content network. Returns its address too.
function loadLibrary(addresses) {
  window.toolkit3Dmol ??= addresses.reduce(
    (earlier, address) => earlier.catch(() => loadScript(address)), Promise.reject(new Error("not tried"))
  ).catch(() => {
    window.toolkit3Dmol = undefined;
    throw new Error("The 3D library is not installed here and could not be fetched from the internet. "
      + "Run scripts/fetch_viewer.sh once on the server.");
  });
  return window.toolkit3Dmol;
}

function loadScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI);
    script.onload = () => resolve({ library: window.$3Dmol, address });
    script.onerror = reject;
    document.head.append(script);
  });
}

class Player {
  constructor(root) {
    this.root = root;
    for (const name of PARTS) this[name] = root.querySelector(`.${name}`);
    everyone.add(this);
    this.current = 0;
    this.playing = false;
    this.play.innerHTML = PLAY;
    this.picture.innerHTML = CAMERA;
    this.movie.innerHTML = FILM;
    this.bar.style.background = `linear-gradient(90deg, ${VIRIDIS.map((c) => `rgb(${c})`)})`;
    this.listen();
  }

  listen() {
    this.play.onclick = () => this.toggle();
    this.frame.oninput = () => this.soon(Number(this.frame.value));
    this.frame.onchange = () => this.remember();
    this.coloring.onchange = () => {
      this.draw(this.current);
      this.remember();
    };
    this.picture.onclick = () => save(this.viewer.pngURI(), `${this.scene.view}-${this.current}.png`);
    this.movie.onclick = () => this.record();
    this.stage.addEventListener("pointerup", () => this.remember());
    this.stage.addEventListener("wheel", () => this.remember(), { passive: true });
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
  }

  async show(scene) {
    this.scene = scene;
    this.stage.style.setProperty("--stage-height", `${scene.height}px`);
    try {
      const { library, address } = await loadLibrary(scene.libraries);
      if (this.disposed || scene !== this.scene) return; // a newer rerun took over while the library loaded
      this.say(address === scene.libraries[0] ? "" : "3Dmol.js is not installed on the server and was fetched from the "
        + "internet; scripts/fetch_viewer.sh installs it.");
      if (!this.viewer) {
        this.surface = takeSurface(this.stage, library);
        this.viewer = this.surface.viewer;
        this.viewer.setViewChangeCallback((camera) => this.lead(camera));
      }
      await this.rebuild(scene);
    } catch (error) {
      this.say(error.message ?? String(error));
    }
  }

  async rebuild(scene) {
    const identity = `${scene.view} ${scene.symbols.join(" ")}`;
    const isNew = identity !== this.identity;
    const kept = recall(scene.view);
    if (isNew || !scene.address || this.frames?.address !== scene.address) this.frames = new Frames(scene);
    else this.frames.grow(scene);
    let first = Math.min(isNew ? kept.frame ?? 0 : this.current, scene.frames - 1);
    if (scene.goTo && scene.goTo[1] !== kept.wish) first = Math.min(scene.goTo[0], scene.frames - 1);
    await this.frames.load(first);
    if (this.disposed || scene !== this.scene) return;
    this.offer(scene, kept);
    if (isNew) this.populate();
    this.shapesOf = undefined;
    this.arrange(this.frames.get(first));
    if (isNew) this.aim(kept.camera);
    this.draw(first);
    this.identity = identity;
    if (scene.goTo) this.remember();
  }

  // The controls that make sense for this scene.
  offer(scene, kept) {
    this.controls.hidden = this.movie.hidden = scene.frames < 2;
    this.tools.hidden = false;
    this.frame.max = scene.frames - 1;
    const names = ["element", ...scene.colorings.map(({ name }) => name)];
    const chosen = this.coloring.value || kept.coloring;
    this.coloring.replaceChildren(...names.map((name) => new Option(`by ${name}`, name)));
    this.coloring.value = names.includes(chosen) ? chosen : "element";
    this.coloring.hidden = names.length < 2;
  }

  // Before the scene is drawn for the first time: each change of the camera draws what is there.
  aim(camera) {
    this.viewer.setView(camera ?? this.surface.home);
    if (camera) return;
    this.viewer.zoomTo();  // fits the height
    this.viewer.zoom(1.1 * Math.min(1, this.stage.clientWidth / this.stage.clientHeight));
  }

  populate() {
    this.viewer.clear();
    this.model = this.viewer.addModel();
    this.model.addAtoms(this.atomList());
    this.atoms = this.model.selectedAtoms({});
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

  // Draw at the next occasion; while a slider is dragged, only the last wish counts.
  soon(frame) {
    if (this.wanted === undefined) {
      requestAnimationFrame(() => {
        this.draw(this.wanted);
        this.wanted = undefined;
      });
    }
    this.wanted = frame;
  }

  draw(frame) {
    if (!this.atoms || this.disposed) return;
    this.current = frame;
    const { frames } = this;
    const record = frames.get(frame);
    this.waiting = !record;
    if (!record) {
      const late = () => frames === this.frames && frame === this.current && this.draw(frame);
      frames.load(frame).then(late, (error) => this.say(error.message));
      return;
    }
    if (frames.address) frames.load(frame + frames.chunkFrames).catch(() => {}); // ahead; asked again if it fails
    this.arrange(record);
    this.viewer.render();
    this.recorder?.add();
    this.frame.value = frame;
    const { label } = this.scene;
    const number = record[0].toLocaleString("en-US", { maximumFractionDigits: 1 });
    this.label.textContent = label ? label.replace("#", number) : `frame ${frame + 1} of ${this.scene.frames}`;
    this.root.dataset.frame = frame;
  }

  arrange(record) {
    const { positionsAt } = this.scene;
    this.atoms.forEach((atom, i) => {
      [atom.x, atom.y, atom.z] = record.subarray(positionsAt + 3 * i, positionsAt + 3 * i + 3);
    });
    this.model.setStyle({}, this.style(record)); // also tells 3Dmol to build the model anew
    this.drawShapes(record);
  }

  // Balls and sticks, slender where arrows need room; coloured by element, or by a number of each atom.
  style(record) {
    const { scene } = this;
    const shape = !scene.bonds.length ? BALLS : scene.arrows.length ? SLENDER : BALL_AND_STICK;
    const coloring = scene.colorings.find(({ name }) => name === this.coloring.value);
    this.legend.hidden = !coloring;
    if (coloring) this.top.textContent = `${Number(coloring.top.toPrecision(2))} ${coloring.unit}`;
    const paint = coloring
      ? { colorfunc: (atom) => viridis(record[coloring.valuesAt + atom.index] / coloring.top) }
      : { colorscheme: "Jmol" };
    return Object.fromEntries(Object.entries(shape).map(([name, look]) => [name, { ...look, ...paint }]));
  }

  // The cell and the arrows. A cell that stays is not drawn again: that would slow down long trajectories.
  drawShapes(record) {
    const { arrows, periodic, cellAt } = this.scene;
    const cell = periodic ? record.subarray(cellAt, cellAt + 9) : [];
    if (!arrows.length && String(cell) === this.shapesOf) return;
    this.viewer.removeAllShapes();
    if (periodic) this.drawCell(cell);
    for (const set of arrows) this.drawArrows(set, record);
    this.shapesOf = String(cell);
  }

  drawCell(cell) {
    const [a, b, c] = [0, 3, 6].map((k) => Array.from(cell.subarray(k, k + 3)));
    for (const [start, end] of boxEdges(a, b, c)) {
      this.viewer.addCylinder({ start, end, radius: 0.04, color: "#7F8C99" });
    }
  }

  drawArrows({ startsAt, vectorsAt, count, color, radius, heads }, record) {
    const shape = this.viewer.addShape({ color });
    for (let k = 0; k < 3 * count; k += 3) {
      const [x, y, z] = record.subarray(startsAt + k, startsAt + k + 3);
      const [u, v, w] = record.subarray(vectorsAt + k, vectorsAt + k + 3);
      const length = Math.hypot(u, v, w);
      if (!(length >= radius)) continue; // shorter than thick
      const line = { start: { x, y, z }, end: { x: x + u, y: y + v, z: z + w }, radius, color };
      const head = Math.min(4 * radius, 0.6 * length);
      if (heads) shape.addArrow({ ...line, radiusRatio: 2.2, mid: 1 - head / length });
      else shape.addCylinder({ ...line, fromCap: 1, toCap: 1 });
    }
  }

  toggle() {
    this.playing = !this.playing;
    this.play.innerHTML = this.playing ? PAUSE : PLAY;
    if (!this.playing) {
      this.endRecording();
      return this.remember();
    }
    this.due = performance.now();
    const tick = (now) => {
      if (!this.playing || this.disposed) return;
      const period = 1000 / Number(this.speed.value);
      if (now >= this.due) {
        this.due = Math.max(this.due + period, now);
        if (!this.waiting) this.step(1);
        if (this.recorder && this.current === this.recordedFrom) return this.toggle();
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

  // A movie from this frame on, until it comes round again, or is paused.
  record() {
    if (this.recorder) return this.toggle();
    const background = getComputedStyle(this.stage).backgroundColor;
    this.recorder = Recorder.create(this.stage.querySelector("canvas"), background, this.scene.view);
    if (!this.recorder) {
      return this.say("This browser cannot record movies (MediaRecorder for WebM is missing). Firefox, Chrome and Edge "
        + "can; pictures can be saved here.");
    }
    this.recordedFrom = this.current;
    this.movie.classList.add("recording");
    if (!this.playing) this.toggle();
  }

  endRecording() {
    this.recorder?.stop();
    this.recorder = undefined;
    this.movie.classList.remove("recording");
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
    const kept = { camera: this.viewer.getView(), frame: this.current, coloring: this.coloring.value,
      wish: this.scene.goTo?.[1] ?? recall(this.scene.view).wish };
    sessionStorage.setItem(`toolkit.${this.scene.view}`, JSON.stringify(kept));
  }

  dispose() {
    this.remember();
    this.endRecording();
    this.disposed = true;
    everyone.delete(this);
    document.removeEventListener("keydown", this.onKey);
    if (this.surface) giveBackSurface(this.surface);
  }
}

function recall(view) {
  return JSON.parse(sessionStorage.getItem(`toolkit.${view}`) ?? "{}");
}

function viridis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const k = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[k].map((low, c) => Math.round(low + (place - k) * (VIRIDIS[k + 1][c] - low)));
  return 65536 * mixed[0] + 256 * mixed[1] + mixed[2];
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
