// One selection for the page: the residue under the pointer, the residue that is picked, and up to two regions of the
// chain. Places count from 1; 0 is none. Every part of the page sets it here and hears of it here.
const residues = read("residues");
const count = residues.sequence.length;
const NAMES = {
  A: "Ala",
  R: "Arg",
  N: "Asn",
  D: "Asp",
  C: "Cys",
  Q: "Gln",
  E: "Glu",
  G: "Gly",
  H: "His",
  I: "Ile",
  L: "Leu",
  K: "Lys",
  M: "Met",
  F: "Phe",
  P: "Pro",
  S: "Ser",
  T: "Thr",
  W: "Trp",
  Y: "Tyr",
  V: "Val",
  X: "Xaa",
};
const selection = { hovered: 0, picked: 0, regions: [], said: "", note: "" }; // said of the regions; noted of the pointer's place
const listeners = [];
const tell = () => listeners.forEach((listener) => listener(selection));
const within = (place) => Math.min(Math.max(place, 1), count);

const hover = (place, note = "") => {
  if (place === selection.hovered && note === selection.note) return;
  Object.assign(selection, { hovered: place, note });
  tell();
};
const pick = (place) => {
  Object.assign(selection, { picked: place ? within(place) : 0, hovered: 0, note: "" });
  tell();
};
const mark = (regions, said = "") => {
  const ordered = regions.map(([a, b]) => [within(Math.min(a, b)), within(Math.max(a, b))]);
  Object.assign(selection, { hovered: 0, regions: ordered, said, note: "" });
  tell();
};
const clear = () => {
  chainKeys.anchor = null;
  Object.assign(selection, { hovered: 0, picked: 0, regions: [], said: "", note: "" });
  tell();
};

const nameOf = (place) => NAMES[residues.sequence[place - 1]] + " " + residues.author[place - 1];
const spanOf = ([a, b]) => residues.author[a - 1] + (a === b ? "" : "–" + residues.author[b - 1]);
const regionOf = (place) => selection.regions.findIndex(([a, b]) => a <= place && place <= b);
const faultsOf = (place) => residues.faults.filter(([residue]) => residue === place - 1);

const describe = (place) => {
  const i = place - 1;
  const words = { H: "helix", E: "strand" };
  const parts = [nameOf(place)];
  if (residues.author[i] !== String(place)) parts.push("place " + place);
  if (residues.plddt.length) parts.push("pLDDT " + (residues.plddt[i]?.toFixed(1) ?? "not known"));
  if (words[residues.structure[i]]) parts.push(words[residues.structure[i]]);
  if (residues.depth.length) {
    const neff = residues.neff.length ? " (Neff " + residues.neff[i].toFixed(1) + ")" : "";
    parts.push(residues.depth[i] + (residues.depth[i] === 1 ? " sequence" : " sequences") + neff);
  }
  if (residues.moved.length) parts.push("moved " + (residues.moved[i] ?? 0).toFixed(2) + " Å");
  return [...parts, ...faultsOf(place).map(([, , what]) => what)].join("  ·  ");
};

// Arrow keys for whatever shows the chain: move the picked residue, with shift mark a region, Escape clears.
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 };
const chainKeys = (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return false;
  if (event.key === "Escape") return (clear(), true);
  let to = event.key in STEPS ? selection.picked + STEPS[event.key] : 0;
  if (event.key === "Home") to = 1;
  if (event.key === "End") to = count;
  if (!to && !(event.key in STEPS)) return false;
  to = within(to);
  event.preventDefault();
  if (event.shiftKey) {
    chainKeys.anchor ??= selection.picked || to;
    selection.picked = to;
    mark([[chainKeys.anchor, to]]);
  } else {
    chainKeys.anchor = null;
    pick(to);
  }
  return true;
};

// The line at the foot of the window: the residue's numbers, and the regions that are marked.
const startReadout = () => {
  const bar = document.getElementById("readout");
  const numbers = document.getElementById("numbers");
  const regions = document.getElementById("regions");
  const plddtOf = ([a, b]) => {
    const values = residues.plddt.slice(a - 1, b).filter((value) => value !== null);
    return values.length
      ? ", mean pLDDT " + (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(1)
      : "";
  };
  listeners.push(({ hovered, picked, regions: marked, said, note }) => {
    const place = hovered || picked;
    numbers.textContent = note || (place ? describe(place) : "");
    regions.replaceChildren(
      ...marked.map((region, k) =>
        make("span", { className: "region-name " + "ab"[k] }, "AB"[k] + "  " + spanOf(region) + plddtOf(region)),
      ),
      said ? " " + said : "",
    );
    bar.hidden = !place && !note && !marked.length;
    bar.classList.toggle("pinned", Boolean(picked || marked.length));
  });
  document.getElementById("before").addEventListener("click", () => pick(selection.picked - 1));
  document.getElementById("after").addEventListener("click", () => pick(selection.picked + 1));
  document.getElementById("clear").addEventListener("click", clear);
};

// The sequence: a letter is a residue. The page has runs of letters; each becomes an element of its own here.
const startSequence = () => {
  const box = document.getElementById("letters");
  if (!box) return;
  const letters = [null];
  for (const run of box.querySelectorAll(".aa")) {
    for (const part of [...run.childNodes]) {
      const band = part.nodeType === Node.ELEMENT_NODE ? part.className : "";
      const each = [...part.textContent].map((letter) => make("b", { className: band, textContent: letter }));
      for (const element of each) {
        element.dataset.i = letters.length;
        letters.push(element);
      }
      part.replaceWith(...each);
    }
  }
  const at = (event) => Number(event.target.dataset?.i ?? 0);
  let start = 0;
  box.addEventListener("pointerdown", (event) => (start = at(event)));
  box.addEventListener("pointermove", (event) => {
    const place = at(event);
    if (start && event.buttons && place && place !== start) mark([[start, place]]);
    else hover(place);
  });
  box.addEventListener("pointerleave", () => hover(0));
  box.addEventListener("click", (event) => {
    const place = at(event);
    if (place && place === start) pick(place);
    start = 0;
  });
  box.addEventListener("keydown", chainKeys);
  let shown = [];
  listeners.push(({ hovered, picked, regions }) => {
    for (const element of shown) element.classList.remove("picked", "hovered", "in-a", "in-b");
    shown = [];
    const show = (place, css) => {
      letters[place]?.classList.add(css);
      if (letters[place]) shown.push(letters[place]);
    };
    regions.forEach(([a, b], k) => {
      for (let place = a; place <= b; place++) show(place, "in-" + "ab"[k]);
    });
    if (hovered) show(hovered, "hovered");
    if (picked) show(picked, "picked");
  });
};

// Tables whose rows name a residue or a stretch: a button in the row selects it.
const startTables = () => {
  for (const button of document.querySelectorAll("button[data-place]")) {
    button.addEventListener("click", () => pick(Number(button.dataset.place)));
  }
  for (const button of document.querySelectorAll("button[data-spans]")) {
    button.addEventListener("click", () => {
      const spans = JSON.parse(button.dataset.spans);
      mark([[spans[0][0], spans[spans.length - 1][1]]]);
    });
  }
  listeners.push(({ picked }) => {
    for (const button of document.querySelectorAll("button[data-place]")) {
      button.setAttribute("aria-pressed", Number(button.dataset.place) === picked);
    }
  });
};
