// The 3D viewer: unpack its script and the coordinates, put it in the place of the picture, wire its controls.
// Where there is no WebGL, the picture stays.
// Coordinates as pipeline/report/viewer.py writes them.
const modelsOf = (bytes) => {
  const atomNames = residues.atoms; // of atom37
  let at = 0;
  return residues.models.map(({ name, atoms: number, step }) => {
    const mask = bytes.subarray(at, (at += Math.ceil((count * atomNames.length) / 8)));
    const low = bytes.subarray(at, (at += 3 * number));
    const high = bytes.subarray(at, (at += 3 * number));
    const axes = [0, 1, 2].map((axis) => {
      let sum = 0;
      return Array.from({ length: number }, (_, k) => {
        sum = (sum + low[axis * number + k] + (high[axis * number + k] << 8)) & 0xffff;
        return (sum < 0x8000 ? sum : sum - 0x10000) * step;
      });
    });
    const atoms = [];
    for (let bit = 0; bit < count * atomNames.length; bit++) {
      if (!((mask[bit >> 3] >> (7 - (bit & 7))) & 1)) continue;
      const [k, place, atom] = [atoms.length, Math.floor(bit / atomNames.length), atomNames[bit % atomNames.length]];
      const ss = { H: "h", E: "s" }[residues.structure[place]] ?? "c";
      const resn = NAMES[residues.sequence[place]].toUpperCase();
      const [x, y, z] = axes.map((axis) => axis[k]);
      atoms.push({
        serial: k,
        index: k,
        atom,
        elem: atom[0],
        resn,
        resi: place + 1,
        chain: "A",
        hetflag: false,
        ss,
        x,
        y,
        z,
      });
    }
    return { name, atoms, whole: atoms.some(({ atom }) => atom === "C") };
  });
};

// The page's policy knows this script by its hash, and no other.
const loadViewer = async () => {
  const code = new TextDecoder().decode(await unpack(bytesOf(packedText("packed-viewer")), "gzip"));
  document.head.append(make("script", { textContent: code }));
  return globalThis.$3Dmol;
};

const hasWebGL = () => {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") ?? canvas.getContext("webgl"));
};

const startViewer = async () => {
  const place = document.getElementById("viewer");
  if (!place) return;
  const stage = document.getElementById("stage");
  const library = globalThis.DecompressionStream && hasWebGL() ? await loadViewer() : null;
  if (!library) {
    stage
      .querySelector(".under p")
      .append(" This browser has no WebGL: a picture is shown in the place of the model in 3D.");
    stage.dataset.ready = "picture";
    return;
  }
  const packed = await unpack(bytesOf(packedText("coordinates")), "gzip");
  stage.classList.add("live");
  const viewer = library.createViewer(place, {
    backgroundColor: style("paper"),
    antialias: true,
    cartoonQuality: count > 600 ? 5 : 8,
    hoverDuration: 60,
    minimumZoomToDistance: 20,
  });
  viewer.setViewStyle({ style: "outline", width: 0.03, color: "#1b1f24" });
  const models = modelsOf(packed);
  for (const model of models) {
    model.drawn = viewer.addModel();
    model.drawn.addAtoms(model.atoms);
  }
  const scene = startScene(viewer, models);
  startControls(viewer, scene, models);
  scene.draw();
  viewer.zoomTo({ model: models[0].drawn.getID() });
  viewer.zoom(closeness(models[0].atoms, place.clientWidth, place.clientHeight));
  viewer.render();
  const start = viewer.getView();
  startKeys(viewer, scene, place, () => {
    viewer.setView(start);
    viewer.render();
  });
  new ResizeObserver(() => {
    viewer.resize();
    viewer.render();
  }).observe(place);
  // The wheel scrolls the page until the viewer has been chosen.
  place.addEventListener("pointerdown", () => place.focus({ preventScroll: true }));
  place.addEventListener(
    "wheel",
    (event) => document.activeElement !== place && !event.ctrlKey && event.stopPropagation(),
    true,
  );
  stage.dataset.ready = "model";
};

// The viewer makes room, in its height, to turn the model about every axis; the model is shown flat: fit that to the window.
const closeness = (atoms, width, height) => {
  const reach = (axis) => Math.max(...atoms.map((atom) => Math.abs(atom[axis])));
  const radius = Math.max(...atoms.map(({ x, y, z }) => Math.hypot(x, y, z)));
  const fit = Math.min(width / reach("x"), height / reach("y")) / (height / radius);
  return Math.min(Math.max(0.88 * fit, 0.3), 1.8);
};

const startControls = (viewer, scene, models) => {
  const words = { plddt: "pLDDT", chain: "chain", moved: "moved", outliers: "outliers", fold: "helix and strand" };
  const choice = (type, name, value, label, checked, then) => {
    const input = make("input", { type, name, value, checked });
    input.addEventListener("change", () => {
      then(input);
      scene.draw();
    });
    return make("label", {}, input, make("span", {}, label));
  };
  document.getElementById("colours").append(
    ...Object.keys(scene.ways).map((way) =>
      choice("radio", "colour", way, words[way], way === scene.state.colour, () => {
        scene.state.colour = way;
        mark([]);
      }),
    ),
  );
  const show = (name) => (input) => (input.checked ? scene.state.shown.add(name) : scene.state.shown.delete(name));
  const whole = models.filter((model) => model.whole).map(({ name }) => [name, name]);
  const others = models.filter((model) => !model.whole).length;
  if (others) whole.push(["others", others === 1 ? "other model" : others + " other models"]);
  const shown = document.getElementById("shown");
  shown.append(
    ...whole.map(([name, label]) => choice("checkbox", "shown", name, label, scene.state.shown.has(name), show(name))),
  );
  shown.hidden = whole.length < 2;
  document.getElementById("full").addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.getElementById("stage").requestFullscreen();
  });
  document.getElementById("save").addEventListener("click", () => {
    make("a", { href: viewer.pngURI(), download: document.title.split(" ")[0] + ".png" }).click();
  });
};

const startKeys = (viewer, scene, place, reset) => {
  document.getElementById("reset").addEventListener("click", reset);
  const zoomIn = () => {
    const around = Array.from({ length: 9 }, (_, k) => selection.picked - 4 + k);
    viewer.zoomTo({ resi: around }, scene.calm ? 0 : 400);
  };
  const turns = { ArrowLeft: ["y", -10], ArrowRight: ["y", 10], ArrowUp: ["x", -10], ArrowDown: ["x", 10] };
  const keys = {
    "+": () => viewer.zoom(1.2),
    "=": () => viewer.zoom(1.2),
    "-": () => viewer.zoom(1 / 1.2),
    0: reset,
    ",": () => pick(selection.picked - 1 || 1),
    ".": () => pick(selection.picked + 1),
    Enter: () => selection.picked && zoomIn(),
    Escape: clear,
  };
  place.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in turns) viewer.rotate(turns[event.key][1], turns[event.key][0]);
    else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
    viewer.render();
  });
  place.addEventListener("dblclick", () => selection.picked && zoomIn());
};
