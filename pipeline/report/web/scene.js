// What the viewer shows: which models, coloured by what, and what is selected.
const style = (name) =>
  getComputedStyle(document.documentElement)
    .getPropertyValue("--" + name)
    .trim();
const bandOf = (plddt) => [50, 70, 90].filter((limit) => plddt >= limit).length;
const mix = (low, high, share) => {
  const [a, b] = [low, high].map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  return (
    "#" +
    a
      .map((value, k) =>
        Math.round(value + (b[k] - value) * share)
          .toString(16)
          .padStart(2, "0"),
      )
      .join("")
  );
};
const FAULTS = residues.kinds; // the worst first
const BANDS = ["very low, below 50", "low, 50 to 70", "confident, 70 to 90", "very high, 90 and above"];

// Ways to colour: the colour of a place, and what the key says of it.
const colourings = () => {
  const most = Math.max(...residues.moved, 0.1);
  const worst = new Map();
  for (const [residue, kind] of residues.faults) if (!worst.has(residue)) worst.set(residue, kind);
  const having = (kind) => [...worst.values()].filter((other) => other === kind).length;
  const folds = { H: ["helix", "b3"], E: ["strand", "b1"], "-": ["coil", "coil"] };
  const ways = {
    plddt: residues.plddt.length && {
      of: (place) => style("b" + bandOf(residues.plddt[place - 1])),
      key: () => [3, 2, 1, 0].map((band) => [style("b" + band), BANDS[band]]),
    },
    chain: {
      of: (place) => mix(style("first"), style("last"), count > 1 ? (place - 1) / (count - 1) : 0),
      key: () => [
        [style("first"), "chain A from " + residues.author[0]],
        [style("last"), "to " + residues.author[count - 1]],
      ],
    },
    moved: residues.moved.length && {
      of: (place) => mix(style("still"), style("far"), (residues.moved[place - 1] ?? 0) / most),
      key: () => [
        [style("still"), "did not move in relaxation"],
        [style("far"), "moved " + most.toFixed(2) + " Å"],
      ],
    },
    outliers: {
      of: (place) => style(worst.has(place - 1) ? "f" + FAULTS.indexOf(worst.get(place - 1)) : "plain"),
      key: () => [
        ...FAULTS.filter(having).map((kind) => [style("f" + FAULTS.indexOf(kind)), kind + ": " + having(kind)]),
        [style("plain"), "nothing unusual: " + (count - worst.size)],
      ],
      sticks: [...worst.keys()].map((residue) => residue + 1),
    },
    fold: residues.structure && {
      of: (place) => style(folds[residues.structure[place - 1]][1]),
      key: () => Object.values(folds).map(([words, colour]) => [style(colour), words]),
    },
  };
  return Object.fromEntries(Object.entries(ways).filter(([, way]) => way));
};

const startScene = (viewer, models) => {
  const ways = colourings();
  const state = { colour: Object.keys(ways)[0], shown: new Set([models[0].name]) };
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const key = document.getElementById("key");
  let extra = []; // models and shapes of what is selected
  let spot = null; // of what is under the pointer

  const main = () => models.find(({ name, whole }) => whole && state.shown.has(name)) ?? models[0];
  const colourOf = (place) => {
    if (!selection.regions.length) return ways[state.colour].of(place);
    return style(["plain", "region-a", "region-b"][regionOf(place) + 1]);
  };
  const stick = (model, places, colour, radius) => {
    const wanted = new Set(places);
    const atoms = model.atoms
      .filter(({ resi }) => wanted.has(resi))
      .map((atom, serial) => ({ ...atom, serial, index: serial }));
    bond(atoms);
    const part = viewer.addModel();
    part.addAtoms(atoms);
    const colours = { N: "#3050f8", O: "#e03020", S: "#c9a800" };
    part.setStyle({}, { stick: { radius, colorfunc: ({ elem, resi }) => colours[elem] ?? colour(resi) } });
    extra.push(() => viewer.removeModel(part));
  };

  // The cartoons are made anew only where their colours change; what is picked is drawn beside them.
  const drawModels = () => {
    const first = main();
    for (const model of models) {
      const shown = state.shown.has(model.name) || (!model.whole && state.shown.has("others"));
      if (!shown && model !== first) model.drawn.setStyle({}, {});
      else if (!model.whole)
        model.drawn.setStyle({}, { cartoon: { style: "trace", thickness: 0.15, color: style("ghost") } });
      else if (model !== first)
        model.drawn.setStyle({}, { cartoon: { color: style("ghost"), opacity: 0.6, thickness: 0.25, arrows: true } });
      else
        model.drawn.setStyle(
          {},
          { cartoon: { colorfunc: ({ resi }) => colourOf(resi), arrows: true, thickness: 0.35 } },
        );
    }
    const entries = selection.regions.length
      ? selection.regions.map((region, k) => [style("region-" + "ab"[k]), "AB"[k] + ": " + spanOf(region)])
      : ways[state.colour].key();
    const beside = models
      .filter(({ name, whole }) => whole && state.shown.has(name) && name !== first.name)
      .map(({ name }) => name);
    if (state.shown.has("others")) beside.push("other models, thin");
    if (beside.length) entries.push([style("ghost"), beside.join(", ")]);
    key.replaceChildren(
      ...entries.map(([colour, words]) => {
        const swatch = make("span", { className: "swatch" });
        swatch.style.background = colour;
        return make("li", {}, swatch, words);
      }),
    );
  };
  const drawSelection = () => {
    extra.splice(0).forEach((remove) => remove());
    const model = main();
    const sticks = selection.regions.length ? [] : (ways[state.colour].sticks ?? []);
    if (sticks.length) stick(model, sticks, colourOf, 0.14);
    const { picked } = selection;
    const atom = picked && model.atoms.find(({ resi, atom }) => resi === picked && atom === "CA");
    if (!atom) return;
    stick(model, neighbours(model.atoms, picked), () => style("near"), 0.09);
    stick(model, [picked], () => style("pick"), 0.24);
    const label = viewer.addLabel(nameOf(picked), {
      position: { x: atom.x, y: atom.y, z: atom.z },
      screenOffset: { x: 12, y: -12 },
      fontSize: 14,
      fontColor: style("paper"),
      backgroundColor: style("ink"),
      backgroundOpacity: 0.85,
      inFront: true,
    });
    extra.push(() => viewer.removeLabel(label));
  };
  const drawSpot = () => {
    if (spot) viewer.removeShape(spot);
    const atom =
      selection.hovered && main().atoms.find(({ resi, atom }) => resi === selection.hovered && atom === "CA");
    spot = atom ? viewer.addSphere({ center: atom, radius: 1.1, color: style("pick"), opacity: 0.75 }) : null;
  };
  const draw = () => {
    drawModels();
    drawSelection();
    drawSpot();
    viewer.render();
  };

  let before = { picked: 0, regions: "[]" };
  let waiting = 0;
  listeners.push(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      const now = { picked: selection.picked, regions: JSON.stringify(selection.regions) };
      if (now.regions !== before.regions) drawModels();
      if (now.regions !== before.regions || now.picked !== before.picked) drawSelection();
      before = now;
      drawSpot();
      viewer.render();
    });
  });
  for (const model of models.filter(({ whole }) => whole)) {
    const sure = (then) => (atom) => state.shown.has(model.name) && then(atom);
    model.drawn.setClickable(
      {},
      true,
      sure(({ resi }) => pick(resi)),
    );
    model.drawn.setHoverable(
      {},
      true,
      sure(({ resi }) => hover(resi)),
      () => hover(0),
    );
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    viewer.setBackgroundColor(style("paper"));
    draw();
  });
  return { state, ways, draw, calm };
};

// Residues with an atom near the picked one.
const neighbours = (atoms, place) => {
  const own = atoms.filter(({ resi }) => resi === place);
  const near = new Set();
  for (const atom of atoms) {
    if (atom.resi === place || near.has(atom.resi)) continue;
    if (own.some((other) => (atom.x - other.x) ** 2 + (atom.y - other.y) ** 2 + (atom.z - other.z) ** 2 < 16))
      near.add(atom.resi);
  }
  return [...near];
};

// Bonds of a few atoms by distance; heavy atoms only.
const bond = (atoms) => {
  for (const atom of atoms) [atom.bonds, atom.bondOrder] = [[], []];
  for (let i = 0; i < atoms.length; i++) {
    for (let j = i + 1; j < atoms.length && atoms[j].resi <= atoms[i].resi + 1; j++) {
      const [a, b] = [atoms[i], atoms[j]];
      if (a.resi !== b.resi && !(a.atom === "C" && b.atom === "N")) continue;
      const limit = a.elem === "S" || b.elem === "S" ? 2.1 : 1.9;
      if ((a.x - b.x) ** 2 + (a.y - b.y) ** 2 + (a.z - b.z) ** 2 > limit ** 2) continue;
      for (const [one, other] of [
        [a, b],
        [b, a],
      ]) {
        one.bonds.push(other.index);
        one.bondOrder.push(1);
      }
    }
  }
};
