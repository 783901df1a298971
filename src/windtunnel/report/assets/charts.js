// Draws the charts. Nothing is fetched: plotly is in the page, compressed.
"use strict";

// Two charts side by side, and one with a long legend on a page: A4 and Letter, landscape.
const PRINT = { dark: false, width: 470, height: 300 };

// What plotly calls its buttons, to what this page does.
const PLOTLY_WORDS = { "Download plot as a PNG": WORDS.download, "Reset axes": WORDS.reset };

async function inflate(base64) {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i); // a call for each letter takes 0.1 s
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

const isOn = (chart, what) => chart.parentElement.querySelector(`button.${what}`)?.ariaPressed === "true";

function draw(chart, { dark, width, height }) {
  const { data, layout, samples = [] } = figureOf(chart, dark);
  layout.height = height ?? layout.height;
  data.forEach((trace) => { if (trace.error_y) trace.error_y.visible = isOn(chart, "intervals"); });
  const traces = isOn(chart, "samples") ? [...samples, ...data] : data;
  const target = chart.querySelector(".plot");
  const room = width ?? chart.clientWidth;
  const config = {
    displaylogo: false,
    modeBarButtons: [["toImage", "resetScale2d"]],
    toImageButtonOptions: { scale: 2 },
    locale: WORDS.language,
    locales: { [WORDS.language]: { dictionary: PLOTLY_WORDS } },
  };
  Plotly.react(target, traces, { ...layout, width: room, autosize: false }, config);
  // The legend wraps by the width there is; the plot keeps its height and the figure grows.
  const legend = target.querySelector(".legend");
  if (legend) {
    const rows = Math.ceil(legend.getBoundingClientRect().height);
    const plot = layout.height - layout.margin.t - layout.margin.b;
    // Long names below the axis stand upright and push its title down; the legend begins below both.
    const ground = target.getBoundingClientRect().top + layout.margin.t + target._fullLayout._size.h;
    const title = target.querySelector(".xtitle")?.getBoundingClientRect().bottom ?? 0;
    const below = Math.max(layout.margin.b, Math.ceil(title - ground)) + 4;
    Plotly.relayout(target, {
      height: layout.margin.t + plot + below + rows,
      "margin.b": below + rows,
      "legend.y": -below / plot,
    });
  }
  // Read aloud, a drawing is a heap of labels; its text and its data stand beside it.
  target.querySelectorAll(".main-svg").forEach((drawing) => drawing.setAttribute("aria-hidden", "true"));
  chart.classList.add("drawn");
}

function addToggle(tools, chart, what, isPressed) {
  const toggle = make("button", { type: "button", className: what, ariaPressed: String(isPressed) }, WORDS[what]);
  toggle.addEventListener("click", () => {
    toggle.ariaPressed = String(toggle.ariaPressed !== "true");
    draw(chart, { dark: isDark() });
  });
  tools.append(toggle);
}

// Names are escaped for plotly, which reads a few tags; here they are text.
const plain = (text) =>
  String(text ?? "–").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

function rowsOf(trace) {
  const { type, name, x, y } = trace;
  if (type === "heatmap") return y.flatMap((row, i) => x.map((column, j) => [row, column, trace.text[i][j]]));
  if (type === "icicle") {
    const paths = { "": "" };
    return trace.ids.map((id, i) => {
      const above = paths[trace.parents[i]]; // what holds others comes before them
      paths[id] = above ? `${above}/${trace.labels[i]}` : trace.labels[i];
      return [above, trace.labels[i], trace.customdata[i]];
    });
  }
  return x.map((at, i) => [name, at, trace.customdata?.[i] ?? y[i]]);
}

function dataTable(chart) {
  const { data, layout } = figureOf(chart, false);
  const titles = [WORDS.series, layout.xaxis?.title?.text || WORDS.point, layout.yaxis?.title?.text || WORDS.value];
  const heads = titles.map((title) => make("th", { scope: "col", className: "t" }, plain(title)));
  const rows = data.flatMap(rowsOf).map(([first, ...others]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", className: "t" }, plain(first)),
      ...others.map((value) => make("td", { className: "t" }, plain(value))),
    ));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  const caption = chart.parentElement.querySelector("figcaption").textContent;
  const box = make("div", { className: rows.length > 40 ? "box tall" : "box", tabIndex: 0, role: "region" }, table);
  box.ariaLabel = say(WORDS.data_of, { caption });
  return box;
}

// The table is made when it is asked for: a page of many charts would otherwise hold each number twice.
function addTools(chart) {
  const { data, samples = [] } = figureOf(chart, false);
  const tools = make("div", { className: "tools" });
  if (data.some((trace) => trace.error_y)) addToggle(tools, chart, "intervals", true);
  if (samples.length) addToggle(tools, chart, "samples", false);
  const details = make("details", { className: "data" }, make("summary", {}, WORDS.data));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table")) details.append(dataTable(chart));
  });
  chart.before(tools);
  chart.parentElement.append(details);
}

async function drawAll() {
  const charts = [...document.querySelectorAll(".chart")];
  if (charts.length === 0) return;
  const plotly = inflate(read("plotly")); // in a thread of its own, meanwhile
  charts.forEach(addTools);
  run(await plotly);
  const all = (how) => charts.forEach((chart) => draw(chart, how));
  const onScreen = () => all({ dark: isDark() });
  for (const chart of charts) {
    draw(chart, { dark: isDark() });
    await new Promise((done) => setTimeout(done)); // the page stays responsive meanwhile
  }
  onTheme(onScreen);
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

drawAll().catch((error) => {
  document.querySelectorAll(".missing b").forEach((lead) => {
    lead.textContent = say(WORDS.not_drawn, { reason: error.message });
  });
});
