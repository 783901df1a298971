// Tables that sort by a click on a header, and that a text box filters.
"use strict";

const FILTER_FROM = 10; // rows; a shorter table is seen whole
const NUMBER = /^(?:[≥≤<>~≈]\s*)?([-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)/i;
const byText = new Intl.Collator(WORDS.language, { numeric: true }).compare;

function numberOf(cell, isText) {
  if (cell.classList.contains("f")) return null;
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  const found = isText ? null : NUMBER.exec(cell.textContent.trim());
  return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) : null;
}

// What has no value stands last either way: a failure is neither fast nor slow, and a gap neither large nor small.
function sorted(rows, column, isText, way) {
  const keyed = rows.map((row) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    const number = numberOf(cell, isText);
    const isLast = number === null && (!isText || cell.classList.contains("f") || /^[–—-]?$/.test(text));
    return { row, text, number, isLast };
  });
  keyed.sort((a, b) => {
    if (a.isLast || b.isLast) return a.isLast && b.isLast ? byText(a.text, b.text) : a.isLast - b.isLast;
    if (a.number !== null && b.number !== null) return way * (a.number - b.number);
    if (a.number !== null || b.number !== null) return a.number === null ? 1 : -1;
    return way * byText(a.text, b.text);
  });
  return keyed.map(({ row }) => row);
}

// Ascending, descending, and then as it was: that order says something too.
function makeSortable(table) {
  const body = table.tBodies[0];
  const first = [...body.rows];
  const order = (header) => {
    const before = header.getAttribute("aria-sort");
    const next = { ascending: "descending", descending: null }[before];
    const way = next === undefined ? "ascending" : next;
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    table.classList.toggle("sorted", way !== null);
    if (way) header.setAttribute("aria-sort", way);
    const isText = header.classList.contains("t");
    const column = Number(header.dataset.column);
    body.append(...(way ? sorted(first, column, isText, way === "ascending" ? 1 : -1) : first));
  };
  table.querySelectorAll("th[data-column]").forEach((header) => {
    const button = make("button", { type: "button", title: header.title }, ...header.childNodes);
    header.removeAttribute("title");
    button.addEventListener("click", () => order(header));
    header.append(button);
  });
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < FILTER_FROM) return;
  const frame = table.closest(".table");
  const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  const shown = make("output");
  const tools = make("div", { className: "tools" }, make("label", {}, `${WORDS.filter} `, input), shown);
  input.setAttribute("aria-describedby", frame.querySelector(".caption").id);
  let texts;
  const filter = () => {
    texts ??= rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, place) => {
      row.hidden = !words.every((word) => texts[place].includes(word));
      count += !row.hidden;
    });
    shown.textContent = say(WORDS.rows_shown, { n: count.toLocaleString(WORDS.language), m: all });
  };
  const all = rows.length.toLocaleString(WORDS.language);
  shown.textContent = say(WORDS.rows_shown, { n: all, m: all });
  input.addEventListener("input", filter);
  table.addEventListener("showall", () => { input.value = ""; filter(); });
  frame.querySelector(".box").before(tools);
}

document.querySelectorAll("table").forEach((table) => {
  makeSortable(table);
  makeFilterable(table);
});
reveal();
