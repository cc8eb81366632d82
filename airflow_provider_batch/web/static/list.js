// The table of batches.

import { airflowUrl, el, keyOf, link, number, short, taskUrl, usd } from "./dom.js";
import { isActive, isOpen, jobsInWords, pill, progress, statuses, timeLeft, tile, took } from "./parts.js";

export function tiles(totals) {
  const unknown = totals.unknown_costs ? `${number(totals.unknown_costs)} of unknown cost` : `in ${totals.days} days`;
  return [el("dl", { class: "tiles" },
    tile("In flight", number(totals.active), null, totals.active ? "active" : ""),
    tile("Landed", number(totals.landed), `in ${totals.days} days`),
    tile("Failed", number(totals.failed), `in ${totals.days} days`, totals.failed ? "bad" : ""),
    tile("Rows", short(totals.rows), "landed"),
    tile("Cost", usd(totals.cost_usd), unknown),
    tile("Saved", usd(totals.saved_usd), "against single calls at standard", "good")),
    totals.is_all ? "" : el("p", { class: "quiet" }, "There are too many batches to add up; the sums and charts are of the newest only. Choose fewer days.")];
}

const HEAD = ["Task", "Model", "State", "Rows", "Submitted", "Time left", "Tokens", "Cost", ""];

export function table(page, live, open) {
  if (!page.rows.length) return el("p", { class: "empty" }, "No batches here. Change the filters, or run a GeminiBatchOperator.");
  return el("table", { class: "batches" },
    el("caption", { class: "unseen" }, "Batches, the last that changed first"),
    el("thead", {}, el("tr", {}, HEAD.map((name) =>
      el("th", { scope: "col", class: ["Rows", "Tokens", "Cost"].includes(name) ? "figure" : null },
        name || el("span", { class: "unseen" }, "Details"))))),
    el("tbody", {}, page.rows.map((row) => line(row, live.get(keyOf(row)), page.now, open))));
}

function line(row, seen, now, open) {
  const show = () => open(row);
  const wholeLine = (event) => {
    if (!event.target.closest("a, button") && !String(getSelection())) show();
  };
  const mapped = row.map_index >= 0 ? ` [${row.map_index}]` : "";
  return el("tr", { onclick: wholeLine, "data-state": row.state },
    cell("Task", "task",
      el("strong", {}, link(airflowUrl("dags", row.dag_id), row.dag_id), " / ", link(taskUrl(row), row.task_id + mapped)),
      el("small", {}, link(airflowUrl("dags", row.dag_id, "runs", row.run_id), row.run_id))),
    cell("Model", "model", row.model || el("span", { class: "quiet" }, "not known"), el("small", {}, row.conn_id)),
    cell("State", "state", el("span", { class: "lines" }, pill(row), progress(row, seen),
      isOpen(row) && seen ? el("small", {}, jobsInWords(row, seen)) : null,
      row.landed_by ? el("small", {}, `landed by ${row.landed_by}`) : null)),
    cell("Rows", "figure", row.counts && row.state === "partial" ? statuses(row.counts) : number(row.rows),
      row.skipped ? el("small", {}, `${number(row.skipped)} left out`) : null),
    cell("Submitted", "", took(row, now)),
    cell("Time left", "left", timeLeft(row, seen, now)),
    cell("Tokens", "figure", tokens(row)),
    cell("Cost", "figure", cost(row)),
    cell("", "open", el("button", { type: "button", onclick: show, "aria-label": `Details of ${row.dag_id} / ${row.task_id}${mapped}, ${row.run_id}` }, "Details")));
}

function cell(name, kind, ...children) {
  return el("td", { "data-name": name, class: kind || null }, el("div", {}, children));
}

function tokens(row) {
  if (!row.tokens) return el("span", { class: "quiet" }, "–");
  return el("span", { class: "lines" },
    el("span", {}, `${short(row.tokens.input)} in`),
    el("small", {}, `${short(row.tokens.output + row.tokens.thinking)} out`));
}

function cost(row) {
  if (row.landed_at === null) {
    const range = row.most_usd !== null ? `≤ ${usd(row.most_usd)}` : row.least_usd !== null ? `≥ ${usd(row.least_usd)}` : null;
    return range && isActive(row) ? el("span", { class: "quiet", title: "Estimate" }, range) : el("span", { class: "quiet" }, "–");
  }
  const saved = row.cost_usd !== null && row.standard_usd !== null ? row.standard_usd - row.cost_usd : null;
  return el("span", { class: "lines" }, el("span", {}, usd(row.cost_usd)),
    saved !== null ? el("small", { class: "saved" }, `${usd(saved)} saved`) : null,
    row.unmetered ? el("small", { class: "warn" }, `${number(row.unmetered)} unmetered`) : null);
}
