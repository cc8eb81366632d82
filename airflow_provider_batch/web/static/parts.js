// Small parts that the table and the detail view share.

import { ago, el, lasting, number, sum } from "./dom.js";

export const STATUSES = [
  "success", "truncated", "invalid_output", "blocked", "error", "expired", "cancelled", "missing",
];

export const isActive = (row) => ["waiting", "working", "retrying"].includes(row.state);
export const isOpen = (row) => row.landed_at === null && row.state !== "skipped";

export function pill(row) {
  return el("span", { class: `pill ${row.state}` }, row.state_words[0].toUpperCase() + row.state_words.slice(1));
}

/** How far a batch is: rows by status once it has landed, what the API counts before that. */
export function progress(row, seen) {
  const total = row.counts ? sum(Object.values(row.counts)) : seen?.requests || row.rows || 0;
  const parts = row.counts
    ? STATUSES.filter((status) => row.counts[status]).map((status) => [status, row.counts[status]])
    : [["success", seen?.succeeded ?? 0], ["error", seen?.failed ?? 0]];
  const done = sum(parts.map(([, count]) => count));
  const percent = total ? Math.floor((done / total) * 100) : 0;
  const isKnown = Boolean(row.counts || seen);
  const bar = el("div", {
    class: `bar${isOpen(row) && isActive(row) ? " running" : ""}`,
    role: "progressbar",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuenow": isKnown ? percent : null,
    "aria-label": `${number(done)} of ${number(total)} rows`,
  });
  for (const [status, count] of parts) {
    if (!count || !total) continue;
    const part = el("span", { class: status });
    part.style.width = `${Math.max(1.5, (count / total) * 100)}%`;
    bar.append(part);
  }
  return bar;
}

export function statuses(counts) {
  const known = STATUSES.filter((status) => counts[status]);
  return el("ul", { class: "statuses" }, known.map((status) =>
    el("li", {}, el("i", { class: `dot ${status}`, "aria-hidden": "true" }),
      `${number(counts[status])} ${status.replace("_", " ")}`)));
}

/** What the API says about the jobs, in a few words. */
export function jobsInWords(row, seen) {
  if (!seen) return "";
  const jobs = `${seen.jobs} job${seen.jobs === 1 ? "" : "s"} ${seen.state}`;
  const done = seen.succeeded + seen.failed;
  return seen.requests ? `${jobs}, ${number(done)} of ${number(seen.requests)} rows` : jobs;
}

/** Time to the single calls or to the deadline, and to the loss of results that nobody has landed. */
export function timeLeft(row, seen, now) {
  if (!isOpen(row)) return el("span", { class: "quiet" }, "–");
  const parts = [];
  if (isActive(row) && row.deadline !== null) {
    const left = row.deadline - now;
    const text = left > 0 ? `${lasting(left)} to deadline` : `deadline passed`;
    if (row.rescue_at !== null && row.rescue_at > now) {
      parts.push(el("span", {}, `${lasting(row.rescue_at - now)} to single calls for late rows`));
    }
    parts.push(el("span", { class: left < 3600 ? "warn" : null }, text));
  }
  if (seen?.lost_at) {
    const left = seen.lost_at - now;
    const text = left > 0 ? `results kept for ${lasting(left)}` : "results deleted by the API";
    parts.push(el("span", { class: left < 6 * 3600 ? "alarm" : "warn" }, text));
  }
  return parts.length ? el("span", { class: "lines" }, parts) : el("span", { class: "quiet" }, "–");
}

export function took(row, now) {
  if (row.submitted_at === null) return "–";
  const began = ago(row.submitted_at, now);
  const end = row.landed_at !== null ? `took ${lasting(row.landed_at - row.submitted_at)}` : null;
  return el("span", { class: "lines" }, began, end ? el("small", {}, end) : null);
}

export function tile(name, value, note, kind) {
  return el("div", { class: `tile ${kind ?? ""}` },
    el("dt", {}, name), el("dd", {}, value, note ? el("small", {}, note) : null));
}
