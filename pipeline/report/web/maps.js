// Maps of residues against residues. A drag, or shift with the arrow keys, marks two stretches of the chain: the one along
// the vertical axis is A, the one along the horizontal axis B. The predicted aligned error says its mean between them.
const startMaps = () => {
  for (const svg of document.querySelectorAll("svg.map")) startMap(svg);
};

const startMap = (svg) => {
  const image = svg.querySelector("image");
  const [left, top, side] = ["x", "y", "width"].map((name) => Number(image.getAttribute(name)));
  const isError = svg.dataset.figure === "pae";
  const unit = side / count;
  const box = svg.appendChild(drawn("rect", { class: "pair-box", visibility: "hidden" }));
  const [across, down] = ["hovered", "hovered"].map(() => svg.appendChild(drawn("line", { class: "cursor light" })));
  let map = null;
  pixelsOf(image).then(
    (found) => (map = found),
    () => {},
  );

  const valueAt = (row, column) => {
    const block = Number(image.dataset.block);
    const at = Math.floor((row - 1) / block) * map.width + Math.floor((column - 1) / block);
    return map.values[at] === Number(image.dataset.missing) ? NaN : map.values[at] * Number(image.dataset.step);
  };
  const mean = ([a, b], [c, d]) => {
    let [sum, number] = [0, 0];
    for (let row = a; row <= b; row++) {
      for (let column = c; column <= d; column++) {
        const value = valueAt(row, column);
        if (!Number.isNaN(value)) [sum, number] = [sum + value, number + 1];
      }
    }
    return number ? (sum / number).toFixed(1) + " Å" : "not known";
  };
  const ofPair = (row, column) =>
    isError
      ? nameOf(column) +
        " is off by " +
        mean([row, row], [column, column]) +
        " where the model is laid on " +
        nameOf(row)
      : nameOf(row) + " to " + nameOf(column) + ": " + mean([row, row], [column, column]);
  const ofRegions = (a, b) =>
    isError
      ? "PAE " +
        mean(a, b) +
        " of B " +
        spanOf(b) +
        " laid on A " +
        spanOf(a) +
        ", " +
        mean(b, a) +
        " the other way round"
      : "Mean distance of A " + spanOf(a) + " and B " + spanOf(b) + ": " + mean(a, b);

  const at = (event) => {
    const frame = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / frame.width;
    const column = Math.floor(((event.clientX - frame.left) * scale - left) / unit) + 1;
    const row = Math.floor(((event.clientY - frame.top) * scale - top) / unit) + 1;
    return { row, column, inside: row >= 1 && row <= count && column >= 1 && column <= count };
  };
  const between = (from, to) => {
    const rows = [from.row, to.row].map(within).sort((a, b) => a - b);
    const columns = [from.column, to.column].map(within).sort((a, b) => a - b);
    const same = rows[0] === columns[0] && rows[1] === columns[1];
    mark(same ? [rows] : [rows, columns], map ? ofRegions(rows, columns) : "");
  };

  let start = null;
  svg.addEventListener("pointerdown", (event) => {
    start = at(event);
    if (!start.inside) return (start = null);
    svg.setPointerCapture(event.pointerId);
    svg.parentElement.focus({ preventScroll: true });
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    const now = at(event);
    if (start && event.buttons) return between(start, now);
    hover(now.inside ? now.column : 0, now.inside && map ? ofPair(now.row, now.column) : "");
  });
  svg.addEventListener("pointerleave", () => hover(0));
  svg.addEventListener("pointerup", (event) => {
    const now = at(event);
    if (start && now.row === start.row && now.column === start.column) {
      mark([]);
      pick(now.column);
    }
    start = null;
  });

  let cursor = null; // of the keyboard
  let anchor = null;
  svg.parentElement.addEventListener("keydown", (event) => {
    const far = event.ctrlKey ? 10 : 1;
    const steps = { ArrowLeft: [0, -far], ArrowRight: [0, far], ArrowUp: [-far, 0], ArrowDown: [far, 0] };
    if (event.key === "Escape") return ((cursor = anchor = null), clear());
    if (!(event.key in steps)) return undefined;
    event.preventDefault();
    cursor ??= { row: selection.picked || 1, column: selection.picked || 1 };
    if (event.shiftKey) anchor ??= { ...cursor };
    else anchor = null;
    cursor = { row: within(cursor.row + steps[event.key][0]), column: within(cursor.column + steps[event.key][1]) };
    if (anchor) return between(anchor, cursor);
    mark([]);
    return hover(cursor.column, map ? ofPair(cursor.row, cursor.column) : "");
  });

  listeners.push(({ hovered, picked, regions }) => {
    const place = hovered || picked;
    const middle = (place - 0.5) * unit;
    const lines = [
      [across, { x1: left, x2: left + side, y1: top + middle, y2: top + middle }],
      [down, { x1: left + middle, x2: left + middle, y1: top, y2: top + side }],
    ];
    for (const [element, attributes] of lines) {
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.setAttribute("visibility", place ? "visible" : "hidden");
    }
    box.setAttribute("visibility", regions.length ? "visible" : "hidden");
    if (!regions.length) return;
    const [rows, columns] = [regions[0], regions[1] ?? regions[0]];
    box.setAttribute("x", left + (columns[0] - 1) * unit);
    box.setAttribute("y", top + (rows[0] - 1) * unit);
    box.setAttribute("width", (columns[1] - columns[0] + 1) * unit);
    box.setAttribute("height", (rows[1] - rows[0] + 1) * unit);
  });
};
