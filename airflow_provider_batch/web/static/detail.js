// One batch, with its ledger.

import { airflowUrl, bytes, el, keyOf, link, moment, news, number, short, sum, svg, taskUrl, usd } from "./dom.js";
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
        el("span", { class: "quiet" }, [row.model, row.conn_id, said.phase, jobsInWords(row, isOpen(row) ? seen : null)].filter(Boolean).join(" · ")),
        said.may_cancel ? cancelling(row, reload) : null),
      progress(row, seen),
      row.counts ? statuses(row.counts) : null),
    facts(row, seen, now),
    said.trouble ? el("p", { class: "notice" }, said.trouble) : null,
    estimate(said),
    ways(said),
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
    tile("Saved", saved === null ? "–" : usd(saved), saved === null ? null : "against single calls at standard", saved ? "good" : ""));
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

/** The estimate and that by the trial as bands, what it came to as a mark. */
function estimate(said) {
  const range = said.estimate?.batch_usd;
  const tried = said.trial?.usd;
  const actual = said.row.cost_usd;
  if (!said.estimate) return null;
  if (!range) return card("Estimate and bill", el("p", { class: "quiet" }, "No price is known for this model."));
  const ends = [range.least, range.most, tried?.least, tried?.most, actual].filter((value) => value !== null && value !== undefined);
  const most = range.most ?? Math.max(...ends) * 1.5;
  const x = scale(...ends, most);
  const band = (span, kind, y, height) => svg("rect", { class: kind, x: `${x(span.least)}%`, y, rx: height / 2, height,
    width: `${Math.max(0.5, x(span.most ?? most) - x(span.least))}%` });
  const shapes = [svg("rect", { class: "track", x: 0, y: 14, width: "100%", height: 8, rx: 4 }), band(range, "band", 14, 8)];
  if (tried) shapes.push(band(tried, "tried", 11, 14));
  if (actual !== null) shapes.push(svg("rect", { class: "mark", x: `${x(actual)}%`, y: 8, width: 3, height: 20, rx: 1.5 }));
  const billed = actual === null ? "not known yet" : usd(actual);
  const byTrial = tried ? `, by the trial ${usdSpan(tried)}` : "";
  return card("Estimate and bill",
    svg("svg", { class: "line-chart", role: "img", width: "100%", height: 34, "aria-label": `Estimated ${usdSpan(range)}${byTrial}, actual ${billed}` }, shapes),
    el("dl", { class: "pairs" },
      pair("Estimated", usdSpan(range), "swatch band", range.most / range.least > 30 ? "the line is in powers of ten" : null),
      tried ? pair("By the trial", usdSpan(tried), "swatch tried", `${counted(said.trial.rows_tried, "row")}, a range of 95 %`) : null,
      pair("By the price list", billed, "swatch mark"),
      pair("Input tokens", spanOf(said.estimate.input_tokens, said.row.tokens?.input), null, said.estimate.input_basis),
      pair("Output tokens", spanOf(said.estimate.output_tokens, said.row.tokens && said.row.tokens.output + said.row.tokens.thinking), null, said.estimate.output_basis),
      said.trial ? pair("Tokens by the trial", `${spanOf(said.trial.input)} in`, null,
        `${spanOf(said.trial.output)} out, ${spanOf(said.trial.thinking)} thinking`) : null));
}

const usdSpan = (span) => (span.most === null ? `at least ${usd(span.least)}` : `${usd(span.least)} to ${usd(span.most)}`);

/** Places on the line, in percent; by powers of ten where they are far apart. */
function scale(...ends) {
  const values = ends.filter((value) => value > 0);
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

/** Jobs and single calls beside each other, once the results are there. */
function ways(said) {
  const bill = said.bill;
  if (!bill) return null;
  const notes = [
    bill.rescue_extra_usd !== null ? `The rescue cost ${usd(bill.rescue_extra_usd)} more than the same tokens in batch mode. The cost has it.` : null,
    bill.lost_calls ? `${counted(bill.lost_calls, "call")} may have been billed, and no answer came. The cost does not have this.` : null,
    bill.called_again ? `${counted(bill.called_again, "answer")} came to rows that had one. The cost has this.` : null,
    bill.jobs_left_running ? `${counted(bill.jobs_left_running, "job")} had not ended when the rows were called. What they finish is billed, and the cost does not have it.` : null,
  ].filter(Boolean);
  return el("section", { class: "card", id: "ways" }, el("h2", {}, "Cost by way"),
    el("div", { class: "scroll" }, el("table", { class: "plain" },
      head("Way", "+Rows", "+Tokens in", "+Tokens out", "+Cost"),
      el("tbody", {}, Object.entries(bill.ways).map(([way, of]) => el("tr", {},
        el("td", {}, WAYS[way] ?? way),
        ["rows", "input", "output"].map((name) => el("td", { class: "figure" }, number(of[name]))),
        el("td", { class: "figure" }, usd(of.cost_usd))))))),
    notes.map((note) => el("p", { class: "quiet" }, note)));
}

const WAYS = { batch: "Batch", flex: "Single calls, flex", standard: "Single calls, standard" };

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
  const shown = said.rounds.filter((round) => round.shards.length || round.left_out);
  if (!shown.length) return null;
  return card("Rounds and shards", shown.map((round) => [
    ...(round.kind === "batch" ? jobs(round) : singleCalls(round)),
    round.left_out ? el("p", { class: "quiet" }, `${number(round.left_out)} more shards are not shown.`) : null,
  ]));
}

function jobs(round) {
  return [
    el("h3", {}, `Round ${round.number}`, el("small", {},
      ` ${counted(round.rows, "row")} in ${counted(round.shards.length + round.left_out, "job")}${round.cancelled ? ", asked to end" : ""}`)),
    el("div", { class: "scroll" }, el("table", { class: "plain" },
      head("+Shard", "+Rows", "+Size", "State", "Result", "+Cost", "Job"),
      el("tbody", {}, round.shards.map((shard) => el("tr", {},
        el("td", { class: "figure" }, shard.number),
        el("td", { class: "figure" }, number(shard.rows)),
        el("td", { class: "figure" }, bytes(shard.size_bytes)),
        el("td", {}, shard.state),
        result(shard),
        el("td", { class: "figure" }, shard.cost_usd === undefined || shard.cost_usd === null ? "–" : usd(shard.cost_usd)),
        el("td", {}, shard.job ? el("code", {}, shard.job) : "–")))))),
  ];
}

/** A trial or a rescue has no jobs. Its cost is that of the tiers that served it. */
function singleCalls(round) {
  const title = round.kind === "trial" ? "Trial" : `Round ${round.number}: rescue`;
  const lost = sum(round.calls.map((line) => line.lost_calls));
  const tiers = round.calls.filter((line) => line.rows)
    .map((line) => `${number(line.rows)} ${line.way}${line.cost_usd === null ? "" : ` ${usd(line.cost_usd)}`}`);
  return [
    el("h3", {}, title, el("small", {},
      ` ${counted(round.rows, "row")} by single calls${tiers.length ? `: ${tiers.join(", ")}` : ""}${lost ? `; ${counted(lost, "call")} lost` : ""}`)),
    el("div", { class: "scroll" }, el("table", { class: "plain" },
      head("+Shard", "+Rows", "State", "Result"),
      el("tbody", {}, round.shards.map((shard) => el("tr", {},
        el("td", { class: "figure" }, shard.number),
        el("td", { class: "figure" }, number(shard.rows)),
        el("td", {}, shard.state),
        result(shard)))))),
  ];
}

function result(shard) {
  return el("td", { class: "words" }, shard.counts ? statuses(shard.counts) : "–",
    shard.error ? el("small", { class: "alarm" }, shard.error) : null);
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
