// One residue at a time: the pointer, or the arrow keys on a plot along the chain, shows its numbers and marks it in all of these plots.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("residues").textContent);
  const readout = document.getElementById("readout");
  const plots = [...document.querySelectorAll("svg.chain")];
  const count = data.sequence.length;
  if (!count || !plots.length) return;
  const words = { H: "helix", E: "strand" };
  const cursors = plots.map((svg) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "cursor");
    line.setAttribute("y1", 8);
    line.setAttribute("y2", svg.viewBox.baseVal.height - 40);
    line.style.display = "none";
    svg.append(line);
    return line;
  });
  let current = 0;
  const show = (residue) => {
    current = Math.min(Math.max(residue, 1), count);
    const i = current - 1;
    const x = data.left + ((current - 0.5) / count) * (data.right - data.left);
    for (const line of cursors) {
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.style.display = "";
    }
    const parts = [data.sequence[i] + " " + data.author[i]];
    if (data.author[i] !== String(current)) parts.push("place " + current);
    if (data.plddt.length) parts.push("pLDDT " + data.plddt[i].toFixed(1));
    if (data.structure && words[data.structure[i]]) parts.push(words[data.structure[i]]);
    if (data.depth.length) parts.push(data.depth[i] + " sequences");
    if (data.moved.length) parts.push("moved " + data.moved[i].toFixed(2) + " Å");
    readout.textContent = parts.join("  ·  ");
    readout.hidden = false;
  };
  const hide = () => {
    readout.hidden = true;
    for (const line of cursors) line.style.display = "none";
  };
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
  for (const svg of plots) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * data.width;
      if (at < data.left || at > data.right) return hide();
      show(Math.floor(((at - data.left) / (data.right - data.left)) * count) + 1);
    });
    svg.addEventListener("pointerleave", hide);
    const frame = svg.parentElement;
    frame.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      show(current + steps[event.key]);
    });
    frame.addEventListener("blur", hide);
  }
})();
