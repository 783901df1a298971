// Draws the charts and makes tables sortable. Nothing is fetched: plotly is in the page, compressed.
"use strict";

// Two charts side by side, and one with a long legend on a page: A4 and Letter, landscape.
const PRINT = { dark: false, width: 470, height: 300 };

const read = (id) => document.getElementById(id).textContent;
const isDark = matchMedia("(prefers-color-scheme: dark)");

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// The policy allows this script by the hash of its text, and no other.
function run(text) {
  const script = document.createElement("script");
  script.textContent = text;
  document.head.append(script);
}

function figureOf(chart, dark) {
  const text = chart.querySelector("script").textContent;
  const swaps = dark ? Object.entries(JSON.parse(read("dark-colors"))) : [];
  return JSON.parse(swaps.reduce((json, [light, other]) => json.replaceAll(light, other), text));
}

function draw(chart, { dark, width, height }) {
  const { data, layout } = figureOf(chart, dark);
  layout.height = height ?? layout.height;
  const target = chart.querySelector(".plot");
  const room = width ?? chart.clientWidth;
  const config = {
    displaylogo: false,
    modeBarButtons: [["toImage", "resetScale2d"]],
    toImageButtonOptions: { scale: 2 },
  };
  Plotly.react(target, data, { ...layout, width: room, autosize: false }, config);
  // The legend wraps by the width there is; the plot keeps its height and the figure grows.
  const legend = target.querySelector(".legend");
  if (legend) {
    const rows = Math.ceil(legend.getBoundingClientRect().height);
    const plot = layout.height - layout.margin.t - layout.margin.b;
    Plotly.relayout(target, {
      height: layout.height + rows,
      "margin.b": layout.margin.b + rows,
      "legend.y": -(layout.margin.b + 4) / plot,
    });
  }
  chart.classList.add("drawn");
}

async function drawAll() {
  const charts = [...document.querySelectorAll(".chart")];
  if (charts.length === 0) return;
  run(await inflate(read("plotly")));
  const all = (how) => charts.forEach((chart) => draw(chart, how));
  const onScreen = () => all({ dark: isDark.matches });
  onScreen();
  isDark.addEventListener("change", onScreen);
  addEventListener("beforeprint", () => all(PRINT));
  addEventListener("afterprint", onScreen);
  let width = innerWidth;
  let timer;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar comes and goes
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(onScreen, 150);
  });
}

function valueOf(cell) {
  const given = cell.dataset.v ?? cell.textContent.replaceAll(",", "");
  const number = Number.parseFloat(given);
  return Number.isNaN(number) ? null : number;
}

function compare(a, b) {
  const [x, y] = [valueOf(a), valueOf(b)];
  if (x !== null && y !== null) return x - y;
  if (x === null && y === null) return a.textContent.localeCompare(b.textContent);
  return null;
}

function sortBy(header) {
  const table = header.closest("table");
  const column = Number(header.dataset.column);
  const way = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  const cell = (row) => row.cells[column];
  // What is no number stands last either way: a failure is neither fast nor slow.
  rows.sort((a, b) => {
    const order = compare(cell(a), cell(b));
    return order === null ? (valueOf(cell(a)) === null ? 1 : -1) : way * order;
  });
  rows.forEach((row) => row.classList.remove("g"));
  table.tBodies[0].append(...rows);
}

function makeSortable(table) {
  table.querySelectorAll("th[data-column]").forEach((header) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    button.type = "button";
    button.addEventListener("click", () => sortBy(header));
    header.append(button);
  });
}

document.querySelectorAll("table").forEach(makeSortable);
drawAll().catch((error) => {
  document.querySelectorAll(".missing b").forEach((lead) => {
    lead.textContent = `This chart could not be drawn (${error.message}).`;
  });
});
