// What is shown, and when it is asked for again. The address says it all, so it can be kept and sent.

import * as api from "./api.js";
import { costPerDay, turnaround } from "./charts.js";
import { detail } from "./detail.js";
import { AIRFLOW, el, frame, keyOf, link, put } from "./dom.js";
import { table, tiles } from "./list.js";
import { isOpen } from "./parts.js";

const PAGE_ROWS = 50;
const REFRESH_MS = 20_000;
const NAMES = ["dag_id", "run_id", "task_id"];
const FILTERS = ["text", "state", "model", "connection", "days", "offset"];
const DAYS = { 1: "1 day", 7: "7 days", 30: "30 days", 90: "90 days" };

const main = document.getElementById("page");
let wanted = {};
let live = new Map();
let troubles = {};
let shown = 0;

/* Where we are */

function read() {
  const outer = frame();
  const own = new URLSearchParams(location.search);
  // Airflow keeps what was asked for in the address of the frame around us.
  const asked = own.size || !outer ? own : new URLSearchParams(outer.location.search);
  return Object.fromEntries([...NAMES, "map_index", "show", ...FILTERS].map((name) => [name, asked.get(name) ?? ""]));
}

function address(where) {
  const query = new URLSearchParams(Object.entries(where).filter(([, value]) => value !== "" && value !== null));
  return `${query.size ? `?${query}` : location.pathname}`;
}

function go(where, { replace = false } = {}) {
  wanted = { ...Object.fromEntries(Object.keys(wanted).map((name) => [name, ""])), ...where };
  history[replace ? "replaceState" : "pushState"](null, "", address(wanted));
  draw();
}

const isDetail = () => NAMES.every((name) => wanted[name]);
const task = () => ({ dag_id: wanted.dag_id, run_id: wanted.run_id, task_id: wanted.task_id, map_index: Number(wanted.map_index === "" ? -1 : wanted.map_index) });

/* What is there */

async function draw({ quietly = false } = {}) {
  shown += 1;
  const mine = shown;
  const isCurrent = () => mine === shown;
  try {
    await (isDetail() ? drawDetail(isCurrent, quietly) : drawList(isCurrent, quietly));
  } catch (error) {
    if (isCurrent() && !(quietly && error.status === 0)) main.replaceChildren(...failure(error));
  }
}

function failure(error) {
  const again = el("button", { type: "button", onclick: () => draw() }, "Try again");
  if (error.status === 401) {
    const login = new URL("auth/login/", AIRFLOW);
    login.searchParams.set("next", (frame() ?? window).location.href);
    return [el("h1", {}, "Gemini batches"), el("p", { class: "notice" }, "You are not logged in any more. ", link(login.href, "Log in"), ".")];
  }
  const back = isDetail() ? el("button", { type: "button", onclick: () => go({}) }, "All batches") : null;
  return [el("h1", {}, "Gemini batches"), el("p", { class: "notice" }, error.message), el("p", {}, again, " ", back)];
}

/* One batch */

let kept = {};

async function drawDetail(isCurrent, quietly) {
  if (!quietly) main.replaceChildren(el("p", { class: "empty" }, "Reading the ledger…"));
  const said = await api.batch(task());
  if (!isCurrent()) return;
  const show = () => put(main, ...detail(said, live, { back, reload: () => draw({ quietly: true }) }).filter(Boolean));
  if (!main.querySelector(".cancelling button + button")) show();
  if (!quietly) {
    scrollTo(0, 0);
    if (wanted.show) document.getElementById(wanted.show)?.scrollIntoView();
  }
  if (isOpen(said.row) && (await ask()) && isCurrent() && !main.querySelector(".cancelling button + button")) show();
}

function open(row) {
  kept = Object.fromEntries(FILTERS.map((name) => [name, wanted[name]]));
  const { dag_id, run_id, task_id, map_index } = row;
  go({ ...kept, dag_id, run_id, task_id, map_index });
}

function back() {
  go(Object.fromEntries(FILTERS.map((name) => [name, wanted[name]])));
}

/* All batches */

const list = {
  head: el("header", { class: "top" }, el("h1", {}, "Gemini batches")),
  tiles: el("div", { class: "tiles-room" }),
  charts: el("div", { class: "charts" }),
  filters: el("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }),
  notice: el("div"),
  table: el("div", { class: "table-room" }),
  pages: el("nav", { class: "pages", "aria-label": "Pages" }),
};

async function drawList(isCurrent, quietly) {
  const days = Number(wanted.days || 30);
  if (!list.head.isConnected) main.replaceChildren(...Object.values(list));
  if (!list.filters.childElementCount) fillFilters(null);
  showFilters();
  const figures = api.totals(days);
  figures.catch(() => {});
  const page = await api.batches({
    text: wanted.text, state: wanted.state, model: wanted.model, connection: wanted.connection,
    since: Math.max(0, Math.floor(Date.now() / 1000) - days * 86_400), offset: wanted.offset || 0, limit: PAGE_ROWS,
  });
  if (!isCurrent()) return;
  const show = () => {
    put(list.table, table(page, live, open));
    const why = Object.entries(troubles).map(([name, said]) => `${name}: ${said}`).join("; ");
    list.notice.replaceChildren(...(why ? [el("p", { class: "notice" }, `How far running jobs are is not known. ${why}.`)] : []));
  };
  show();
  put(list.pages, ...pages(page));
  performance.mark("first-data");
  if (!quietly) scrollTo(0, 0);
  await drawFigures(figures, isCurrent, quietly);
  if (!isCurrent()) return;
  if (page.rows.some(isOpen) && (await ask()) && isCurrent()) show();
}

/** Sums and charts; the list is there without them. */
async function drawFigures(figures, isCurrent, quietly) {
  let totals;
  try {
    totals = await figures;
  } catch (error) {
    if (!isCurrent() || (quietly && error.status === 0)) return;
    list.tiles.replaceChildren(el("p", { class: "notice" }, `Sums and charts cannot be shown. ${error.message}`));
    list.charts.replaceChildren();
    return;
  }
  if (!isCurrent()) return;
  fillFilters(totals);
  list.tiles.replaceChildren(...tiles(totals));
  if (!list.charts.querySelector("details[open]")) put(list.charts, costPerDay(totals), turnaround(totals));
}

/** What the API says about jobs that run; the page is complete without it. */
async function ask() {
  try {
    const said = await api.live();
    live = new Map(said.batches.map((one) => [keyOf(one), one]));
    troubles = said.troubles;
    return true;
  } catch {
    return false;
  }
}

function choice(name, label, options) {
  const change = (event) => go({ ...wanted, [name]: event.target.value, offset: "" });
  return el("label", {}, el("span", {}, label),
    el("select", { name, onchange: change }, Object.entries(options).map(([value, text]) => el("option", { value }, text))));
}

function named(all, names) {
  return Object.fromEntries([["", all], ...names.map((name) => [name, name])]);
}

let filled = "";

function fillFilters(totals) {
  const known = JSON.stringify([totals?.models, totals?.connections]);
  if (known === filled) return;
  filled = known;
  let wait = 0;
  const typed = (event) => {
    clearTimeout(wait);
    const { value } = event.target;
    wait = setTimeout(() => go({ ...wanted, text: value, offset: "" }, { replace: true }), 250);
  };
  const before = list.filters.querySelector("input");
  const input = before ?? el("input", { name: "text", type: "search", placeholder: "DAG, task or run", oninput: typed, autocomplete: "off" });
  const fields = [
    before ? before.closest("label") : el("label", { class: "wide" }, el("span", {}, "Find"), input),
    choice("state", "State", { "": "Any state", active: "In flight", done: "Done", failed: "Failed" }),
    choice("model", "Model", named("All models", totals?.models ?? [])),
    choice("connection", "Connection", named("All connections", totals?.connections ?? [])),
    choice("days", "Changed", Object.fromEntries(Object.entries(DAYS).map(([days, text]) => [days, `last ${text}`]))),
  ];
  // The field that is typed into stays where it is.
  if (before) {
    while (list.filters.children.length > 1) list.filters.lastChild.remove();
    list.filters.append(...fields.slice(1));
  } else list.filters.replaceChildren(...fields);
  showFilters();
}

function showFilters() {
  for (const field of list.filters.elements) {
    if (!field.name || field === document.activeElement) continue;
    const value = field.name === "days" ? wanted.days || "30" : wanted[field.name];
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) {
      field.append(el("option", { value }, value));
    }
    field.value = value;
  }
}

function pages(page) {
  const offset = Number(wanted.offset || 0);
  const first = page.rows.length ? offset + 1 : 0;
  const last = offset + page.rows.length;
  const to = (there) => () => go({ ...wanted, offset: there || "" });
  const format = (value) => value.toLocaleString("en-US");
  return [
    el("span", {}, `${format(first)}–${format(last)} of ${format(page.total)}`),
    el("button", { type: "button", disabled: offset === 0, onclick: to(Math.max(0, offset - PAGE_ROWS)) }, "← Newer"),
    el("button", { type: "button", disabled: last >= page.total, onclick: to(offset + PAGE_ROWS) }, "Older →"),
  ];
}

/* Light and dark, as Airflow is */

function dress() {
  const outer = frame();
  let theme = "";
  try {
    const classes = outer?.document.documentElement.classList;
    const stored = localStorage.getItem("theme");
    theme = classes?.contains("dark") ? "dark" : classes?.contains("light") ? "light" : stored ?? "";
  } catch {
    theme = "";
  }
  const isDark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}

dress();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
addEventListener("storage", dress);
const around = frame();
if (around) new MutationObserver(dress).observe(around.document.documentElement, { attributeFilter: ["class"] });

addEventListener("popstate", () => {
  wanted = read();
  draw();
});
setInterval(() => {
  if (!document.hidden) draw({ quietly: true });
}, REFRESH_MS);

wanted = read();
history.replaceState(null, "", address(wanted));
draw();
