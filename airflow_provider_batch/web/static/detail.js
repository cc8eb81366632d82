// One batch, with its ledger.

import { airflowUrl, bytes, el, keyOf, link, moment, news, number, short, svg, taskUrl, usd } from "./dom.js";
import * as api from "./api.js";
import { isOpen, jobsInWords, pill, progress, statuses, timeLeft, tile, took } from "./parts.js";

export function detail(said, live, { back, reload }) {
  const { row, now } = said;
  const seen = live.get(keyOf(row));
  const mapped = row.map_index >= 0 ? ` [${row.map_index}]` : "";
  return [
    el("header", { class: "top" },
      el("button", { type: "button", class: "back", onclick: back }, "← All batches"),
      el("h1", {}, `${row.dag_id} / ${row.task_id}${mapped}`),
      el("p", { class: "where" },
        link(airflowUrl("dags", row.dag_id), "DAG"), " · ",
        link(airflowUrl("dags", row.dag_id, "runs", row.run_id), `Run ${row.run_id}`), " · ",
        link(taskUrl(row), `Task, try ${row.try_number}`))),
    el("section", { class: "card head" },
      el("div", { class: "line" }, pill(row),
        el("span", { class: "quiet" }, [row.model, row.conn_id, jobsInWords(row, isOpen(row) ? seen : null)].filter(Boolean).join(" · ")),
        said.may_cancel ? cancelling(row, reload) : null),
      progress(row, seen),
      row.counts ? statuses(row.counts) : null),
    facts(row, seen, now),
    said.trouble ? el("p", { class: "notice" }, said.trouble) : null,
    estimate(said),
    causes(said),
    rounds(said),
    el("div", { class: "columns" }, history(said), places(said)),
  ];
}

function facts(row, seen, now) {
  const saved = row.cost_usd !== null && row.standard_usd !== null ? row.standard_usd - row.cost_usd : null;
  const left = timeLeft(row, seen, now);
  return el("dl", { class: "tiles" },
    tile("Rows", number(row.rows), row.skipped ? `${number(row.skipped)} left out` : null),
    tile("Submitted", took(row, now)),
    isOpen(row) ? tile("Time left", left) : null,
    tile("Tokens", row.tokens ? short(row.tokens.input + row.tokens.output + row.tokens.thinking) : "–",
      row.tokens ? `${short(row.tokens.input)} in, ${short(row.tokens.output)} out, ${short(row.tokens.thinking)} thinking` : null),
    tile("Cost", row.landed_at === null ? "–" : usd(row.cost_usd),
      row.unmetered ? `${number(row.unmetered)} answers without a token count are not in it` : null),
    tile("Saved", saved === null ? "–" : usd(saved), saved === null ? null : "against single calls", saved ? "good" : ""));
}

/** Two steps: what cannot be undone is asked for twice. */
function cancelling(row, reload) {
  const box = el("span", { class: "cancelling" });
  const first = el("button", { type: "button", class: "danger", onclick: ask }, "Cancel the batch…");
  function ask() {
    const sure = el("button", { type: "button", class: "danger", onclick: go }, "Cancel the jobs");
    box.replaceChildren(
      el("span", {}, "Nothing more is sent. What has finished is billed, and landed; the task then fails without a retry."),
      sure, el("button", { type: "button", onclick: () => { box.replaceChildren(first); first.focus(); } }, "Keep running"));
    sure.focus();
  }
  async function go() {
    box.replaceChildren(el("span", {}, "Asking the jobs to end…"));
    try {
      const { jobs } = await api.cancel(row);
      news(`${jobs.length} job${jobs.length === 1 ? " was" : "s were"} asked to end.`);
      reload();
    } catch (error) {
      box.replaceChildren(el("span", { class: "alarm" }, error.message), first);
    }
  }
  box.append(first);
  return box;
}

const counted = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;

/** The head of a table; names of columns of figures begin with a plus. */
function head(...names) {
  return el("thead", {}, el("tr", {}, names.map((name) => (name.startsWith("+")
    ? el("th", { scope: "col", class: "figure" }, name.slice(1)) : el("th", { scope: "col" }, name)))));
}

function card(title, ...children) {
  return el("section", { class: "card" }, el("h2", {}, title), children);
}

/** The estimate as a band, what it came to as a mark. */
function estimate(said) {
  const range = said.estimate?.batch_usd;
  const actual = said.row.cost_usd;
  if (!said.estimate) return null;
  if (!range) return card("Estimate and bill", el("p", { class: "quiet" }, "No price is known for this model."));
  const most = range.most ?? Math.max(range.least, actual ?? 0) * 1.5;
  const x = scale(range.least, most, actual);
  const shapes = [
    svg("rect", { class: "track", x: 0, y: 14, width: "100%", height: 8, rx: 4 }),
    svg("rect", { class: "band", x: `${x(range.least)}%`, y: 14, width: `${Math.max(0.5, x(most) - x(range.least))}%`, height: 8, rx: 4 }),
  ];
  if (actual !== null) shapes.push(svg("rect", { class: "mark", x: `${x(actual)}%`, y: 8, width: 3, height: 20, rx: 1.5 }));
  const estimated = range.most === null ? `at least ${usd(range.least)}` : `${usd(range.least)} to ${usd(range.most)}`;
  const billed = actual === null ? "not known yet" : usd(actual);
  return card("Estimate and bill",
    svg("svg", { class: "line-chart", role: "img", width: "100%", height: 34, "aria-label": `Estimated ${estimated}, actual ${billed}` }, shapes),
    el("dl", { class: "pairs" },
      pair("Estimated", estimated, "swatch band", range.most / range.least > 30 ? "the line is in powers of ten" : null),
      pair("By the price list", billed, "swatch mark"),
      pair("Input tokens", spanOf(said.estimate.input_tokens, said.row.tokens?.input), null, said.estimate.input_basis),
      pair("Output tokens", spanOf(said.estimate.output_tokens, said.row.tokens && said.row.tokens.output + said.row.tokens.thinking), null, said.estimate.output_basis)));
}

/** Places on the line, in percent; by powers of ten where the estimate is very wide. */
function scale(least, most, actual) {
  const values = [least, most, actual].filter((value) => value > 0);
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (!values.length) return () => 0;
  if (high / low < 30) return (value) => (value / (high * 1.08)) * 100;
  const room = Math.log(high / low);
  return (value) => (value > 0 ? 4 + (Math.log(value / low) / room) * 90 : 0);
}

function spanOf(span, actual) {
  const words = span.most === null ? `at least ${number(Math.round(span.least))}` : `${number(Math.round(span.least))} to ${number(Math.round(span.most))}`;
  return actual === null || actual === undefined ? words : `${words}; it was ${number(actual)}`;
}

function pair(name, value, swatch, note) {
  return el("div", {}, el("dt", {}, swatch ? el("i", { class: swatch, "aria-hidden": "true" }) : null, name),
    el("dd", {}, value, note ? el("small", {}, note) : null));
}

function causes(said) {
  if (said.cause_trouble) return card("Rows without an answer", el("p", { class: "notice" }, said.cause_trouble));
  if (!said.causes.length) return null;
  const note = said.causes_are_all ? null
    : el("p", { class: "quiet" }, `Of the first ${number(said.causes_of)} rows.`);
  return card("Rows without an answer", note,
    el("div", { class: "scroll" }, el("table", { class: "plain causes" },
      head("+Rows", "Status", "Cause", "For instance"),
      el("tbody", {}, said.causes.map((cause) => el("tr", {},
        el("td", { class: "figure" }, number(cause.rows)),
        el("td", {}, el("i", { class: `dot ${cause.status}`, "aria-hidden": "true" }), cause.status.replace("_", " ")),
        el("td", { class: "words" }, cause.code ? `${cause.code}: ` : "", cause.message || "no reason given"),
        el("td", { class: "words" }, cause.keys.map((key) => [el("code", {}, key), " "]))))))));
}

function rounds(said) {
  if (!said.rounds.length) return null;
  return card("Rounds and shards", said.rounds.map((round) => [
    el("h3", {}, `Round ${round.number}`, el("small", {},
      ` ${counted(round.rows, "row")} in ${counted(round.shards.length + round.left_out, "job")}${round.cancelled ? ", asked to end" : ""}`)),
    el("div", { class: "scroll" }, el("table", { class: "plain" },
      head("+Shard", "+Rows", "+Size", "State", "Result", "+Cost", "Job"),
      el("tbody", {}, round.shards.map((shard) => el("tr", {},
        el("td", { class: "figure" }, shard.number),
        el("td", { class: "figure" }, number(shard.rows)),
        el("td", { class: "figure" }, bytes(shard.size_bytes)),
        el("td", {}, shard.state),
        el("td", { class: "words" }, shard.counts ? statuses(shard.counts) : "–", shard.error ? el("small", { class: "alarm" }, shard.error) : null),
        el("td", { class: "figure" }, shard.cost_usd === undefined || shard.cost_usd === null ? "–" : usd(shard.cost_usd)),
        el("td", {}, shard.job ? el("code", {}, shard.job) : "–")))))),
    round.left_out ? el("p", { class: "quiet" }, `${number(round.left_out)} more shards are not shown.`) : null,
  ]));
}

function history(said) {
  if (!said.history.length) return null;
  let day = "";
  return card("History", el("ol", { class: "timeline" }, said.history.map((event) => {
    const at = new Date(event.at * 1000);
    const date = at.toLocaleDateString("en-GB", { dateStyle: "medium" });
    const isNew = date !== day;
    day = date;
    const where = event.round && said.rounds.length + (said.rounds[0]?.shards.length ?? 0) > 2
      ? `round ${event.round}${event.shard ? `, shard ${event.shard}` : ""}` : "";
    return el("li", { class: event.kind },
      el("time", { datetime: at.toISOString(), title: moment(event.at) },
        isNew ? el("b", {}, date) : null, at.toLocaleTimeString("en-GB")),
      el("div", {}, el("strong", {}, event.title), where ? el("span", { class: "quiet" }, ` ${where}`) : null,
        event.text ? el("p", {}, event.text) : null));
  })), said.left_out ? el("p", { class: "quiet" }, `${number(said.left_out)} more notes, of earlier rounds or later shards, are in the ledger.`) : null);
}

function places(said) {
  const known = Object.entries(said.places);
  if (!known.length) return null;
  return el("section", { class: "card", id: "results" }, el("h2", {}, "Files"),
    el("dl", { class: "files" }, known.map(([name, uri]) => [el("dt", {}, name), el("dd", {}, el("code", {}, uri))])));
}
