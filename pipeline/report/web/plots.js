// Plots along the chain and Ramachandran plots: they show the selection, and a click, a drag or a key changes it.
const startChainPlots = () => {
  for (const svg of document.querySelectorAll("svg.chain")) startChainPlot(svg);
};

const startChainPlot = (svg) => {
  const { left, right, width } = residues;
  const bottom = svg.viewBox.baseVal.height - 40;
  const unit = (right - left) / count;
  const line = (css) => svg.appendChild(drawn("line", { class: css, y1: 8, y2: bottom, visibility: "hidden" }));
  const bands = ["a", "b"].map((css) => {
    const band = drawn("rect", { class: "region " + css, y: 8, height: bottom - 8, visibility: "hidden" });
    svg.prepend(band);
    return band;
  });
  const lines = { picked: line("cursor picked"), hovered: line("cursor") };
  listeners.push((now) => {
    for (const [which, element] of Object.entries(lines)) {
      const x = left + (now[which] - 0.5) * unit;
      element.setAttribute("x1", x);
      element.setAttribute("x2", x);
      element.setAttribute("visibility", now[which] ? "visible" : "hidden");
    }
    bands.forEach((band, k) => {
      const region = now.regions[k];
      band.setAttribute("visibility", region ? "visible" : "hidden");
      if (!region) return;
      band.setAttribute("x", left + (region[0] - 1) * unit);
      band.setAttribute("width", (region[1] - region[0] + 1) * unit);
    });
  });
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    const place = Math.floor((((event.clientX - box.left) / box.width) * width - left) / unit) + 1;
    return place >= 1 && place <= count ? place : 0;
  };
  let start = 0;
  svg.addEventListener("pointerdown", (event) => (start = at(event)));
  svg.addEventListener("pointermove", (event) => {
    const place = at(event);
    if (start && event.buttons && place && place !== start) mark([[start, place]]);
    else hover(place);
  });
  svg.addEventListener("pointerleave", () => hover(0));
  svg.addEventListener("click", (event) => {
    if (start && at(event) === start) pick(start);
    start = 0;
  });
  svg.parentElement.addEventListener("keydown", chainKeys);
};

const startTorsions = () => {
  const svg = document.querySelector("svg[data-figure=ramachandran]");
  if (!svg) return;
  const marks = [...svg.querySelectorAll("[data-i]")];
  const places = marks.map((element) => {
    const box = element.getBBox();
    return { place: Number(element.dataset.i), x: box.x + box.width / 2, y: box.y + box.height / 2 };
  });
  const rings = [];
  const near = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let best = { place: 0, far: 12 };
    for (const each of places) {
      const far = Math.hypot(each.x - x, each.y - y);
      if (far < best.far) best = { place: each.place, far };
    }
    return best.place;
  };
  svg.addEventListener("pointermove", (event) => hover(near(event)));
  svg.addEventListener("pointerleave", () => hover(0));
  svg.addEventListener("click", (event) => near(event) && pick(near(event)));
  svg.parentElement.addEventListener("keydown", chainKeys);
  listeners.push(({ hovered, picked }) => {
    rings.splice(0).forEach((ring) => ring.remove());
    for (const { place, x, y } of places) {
      if (place !== picked && place !== hovered) continue;
      rings.push(svg.appendChild(drawn("circle", { class: "ring", cx: x, cy: y, r: 8 })));
    }
  });
};
