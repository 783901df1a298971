// What the other scripts share: the page's words, its theme, and what opens for a link and on paper.
"use strict";

const read = (id) => document.getElementById(id).textContent;
const WORDS = JSON.parse(read("words"));
const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
const onTheme = (act) => {
  prefersDark.addEventListener("change", act);
  document.addEventListener("theme", act);
};

function addThemeToggle() {
  const toggle = make("button", { type: "button", id: "theme" });
  const name = () => { toggle.textContent = isDark() ? WORDS.to_light : WORDS.to_dark; };
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    document.dispatchEvent(new Event("theme"));
  });
  onTheme(name);
  name();
  document.querySelector("header").append(toggle);
}

// A link leads to what may be folded away or filtered out; then it has to be seen again.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const folded = [];
  for (let at = target; at; at = at.parentElement) if (at.matches("details:not([open])")) folded.push(at);
  const row = target.closest("tr[hidden]");
  folded.forEach((details) => { details.open = true; });
  row?.closest("table").dispatchEvent(new Event("showall"));
  if (row || folded.length) target.scrollIntoView({ block: "center" });
}

// Paper has no clicks. The data of charts stay folded: they are many pages, and stand in the tables too.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open], .data)")];
  opened.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
addEventListener("hashchange", reveal);

addThemeToggle();
