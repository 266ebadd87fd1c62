// The table of a run: sorted, searched and paged. Without this script its first page is there, failed targets first.
const PAGE = 100; // rows, as in run_rows.py
const BAND_NAMES = ["very low", "low", "confident", "very high"];

const startTable = async () => {
  const rows = JSON.parse(new TextDecoder().decode(await unpack(bytesOf(packedText("rows")), "gzip")));
  const table = document.getElementById("targets");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  [...body.rows].forEach((element, k) => (rows[k].element = element));
  const words = document.getElementById("words");
  const status = document.getElementById("status");
  const state = { key: "rank", way: 1, page: 0 };
  let shown = rows;

  const text = (row) =>
    (row.text ??= [row.name, row.header, row.status, row.reason, row.template].join(" ").toLowerCase());
  const compare = (a, b) => {
    const [x, y] = [a[state.key], b[state.key]];
    if (x === y) return a.rank - b.rank;
    if (x === null || y === null) return x === null ? 1 : -1; // what is not known comes last, whichever way
    return state.way * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
  };
  const draw = () => {
    const pages = Math.max(Math.ceil(shown.length / PAGE), 1);
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const from = state.page * PAGE;
    body.replaceChildren(...shown.slice(from, from + PAGE).map((row) => (row.element ??= elementOf(row))));
    document.getElementById("pager").hidden = pages === 1;
    document.getElementById("page").textContent =
      `rows ${from + 1} to ${Math.min(from + PAGE, shown.length)} of ${shown.length}`;
    for (const button of document.querySelectorAll("#pager button")) {
      button.disabled = ["first", "before"].includes(button.dataset.to) ? state.page === 0 : state.page === pages - 1;
    }
  };
  const choose = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = rows.filter(
      (row) => (!status.value || row.status === status.value) && wanted.every((word) => text(row).includes(word)),
    );
    shown.sort(compare);
    document.getElementById("found").textContent =
      wanted.length || status.value ? `${shown.length} of ${rows.length}` : "";
    state.page = 0;
    draw();
  };

  for (const head of heads) {
    const button = head.querySelector("button");
    button?.addEventListener("click", () => {
      state.way = state.key === button.dataset.key ? -state.way : 1;
      state.key = button.dataset.key;
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", state.way > 0 ? "ascending" : "descending");
      choose();
    });
  }
  document.getElementById("pager").addEventListener("click", (event) => {
    const pages = { first: 0, before: state.page - 1, after: state.page + 1, last: Infinity };
    const to = event.target.dataset?.to;
    if (!to) return;
    state.page = pages[to];
    draw();
    table.scrollIntoView({ block: "start" });
  });
  words.addEventListener("input", choose);
  status.addEventListener("change", choose);
  document.getElementById("filter").hidden = false;
  choose();
  table.dataset.ready = "yes";
};

// A row as the page's template writes it.
const elementOf = (row) => {
  const sub = (content, css = "sub") => make("span", { className: css }, make("bdi", {}, content));
  const name = row.link ? make("a", { href: row.link }, row.name) : make("b", {}, row.name);
  const title = make("th", { scope: "row" }, name, sub(row.header));
  const state = make("td", {}, make("span", { className: "badge" }, row.status));
  if (row.reason) state.append(sub(row.reason, "sub why"));
  const plddt = make(
    "td",
    {},
    row.plddt === null ? "–" : make("span", { className: "swatch b" + row.band, ariaHidden: "true" }),
  );
  if (row.plddt !== null) {
    plddt.append(
      make("span", { className: "value" }, row.plddt_text),
      make("span", { className: "sub" }, BAND_NAMES[row.band]),
    );
  }
  const template = make("td", {}, row.template);
  if (row.identity_text) template.append(" ", make("span", { className: "sub one-line" }, row.identity_text));
  const number = (content) => make("td", { className: "n" }, content);
  return make(
    "tr",
    { className: row.status },
    make("td", { className: "fold" }, row.paths ? thumbnail(row) : "–"),
    title,
    state,
    number(row.length_text),
    plddt,
    number(row.ptm_text),
    number(row.rows_text),
    template,
    number(row.violations_text),
    number(row.time),
  );
};

const thumbnail = ({ name, paths }) => {
  const svg = drawn("svg", {
    viewBox: "0 0 96 72",
    class: "figure trace",
    role: "img",
    "aria-label": `Fold of ${name}, coloured by pLDDT.`,
  });
  svg.append(...paths.map(([band, d]) => drawn("path", { class: "t" + band, d })));
  return svg;
};

startTable();
