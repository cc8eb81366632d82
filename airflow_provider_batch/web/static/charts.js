// Two charts, drawn by hand: cost per day, and how long batches take.

import { el, lasting, number, sum, svg, usd } from "./dom.js";

const SERIES = 5;
const HEIGHT = 172;
const EDGE = { left: 46, right: 8, top: 10, bottom: 24 };

/** Bars that know their width: redrawn whenever the room changes. */
function drawing(label, draw) {
  const box = el("div", { class: "drawing" });
  let width = 0;
  new ResizeObserver(([entry]) => {
    const room = Math.floor(entry.contentRect.width);
    if (!room || room === width) return;
    width = room;
    const { height, shapes } = draw(room);
    box.replaceChildren(
      svg("svg", { role: "img", "aria-label": label, width: room, height, viewBox: `0 0 ${room} ${height}` }, shapes));
  }).observe(box);
  return box;
}

function figures(head, rows) {
  return el("details", { class: "figures" }, el("summary", {}, "Figures"),
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))))));
}

function legend(names) {
  return el("ul", { class: "legend" }, names.map((name, at) =>
    el("li", {}, el("i", { class: `swatch s${at}`, "aria-hidden": "true" }), name)));
}

/** The dearest models have a colour of their own, the others share one. */
function series(totals) {
  const cost = new Map();
  for (const [, model, , paid] of totals.per_day) cost.set(model, (cost.get(model) ?? 0) + paid);
  const names = [...cost.keys()].sort((a, b) => cost.get(b) - cost.get(a));
  if (names.length <= SERIES) return { names, of: (model) => names.indexOf(model) };
  const shown = names.slice(0, SERIES - 1);
  const of = (model) => (shown.includes(model) ? shown.indexOf(model) : SERIES - 1);
  return { names: [...shown, "others"], of };
}

function daysUntilToday(count) {
  const today = Date.parse(`${new Date().toISOString().slice(0, 10)}T00:00:00Z`);
  return Array.from({ length: count }, (_, back) =>
    new Date(today - (count - 1 - back) * 86_400_000).toISOString().slice(0, 10));
}

/** A round number at or above: the top of an axis. */
function ceiling(value) {
  if (!value) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * unit).find((top) => top >= value * 0.999);
}

const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", notation: "compact", maximumSignificantDigits: 2 });

const axisUsd = (value) => (value && value < 0.01 ? usd(value) : dollars.format(value));

export function costPerDay(totals) {
  const days = daysUntilToday(totals.days);
  const { names, of } = series(totals);
  const byDay = new Map(days.map((day) => [day, names.map(() => 0)]));
  for (const [day, model, , paid] of totals.per_day) {
    const sums = byDay.get(day);
    if (sums) sums[of(model)] += paid;
  }
  const top = ceiling(Math.max(...[...byDay.values()].map(sum)));
  const draw = (width) => {
    const room = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
    const step = room.width / days.length;
    const y = (value) => EDGE.top + room.height * (1 - value / top);
    const shapes = [0, 0.5, 1].flatMap((part) => [
      svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(top * part), y2: y(top * part) }),
      svg("text", { class: "axis", x: EDGE.left - 6, y: y(top * part) + 4, "text-anchor": "end" }, axisUsd(top * part)),
    ]);
    const every = Math.ceil(days.length / Math.max(2, Math.floor(room.width / 70)));
    days.forEach((day, at) => {
      let below = 0;
      const left = EDGE.left + at * step;
      const bars = byDay.get(day).map((paid, which) => {
        if (!paid) return null;
        below += paid;
        const height = Math.max(1, (paid / top) * room.height);
        return svg("rect", { class: `s${which}`, x: left + step * 0.14, y: y(below), width: step * 0.72, height, rx: 1.5 });
      });
      const parts = names.map((name, which) => `${name}: ${usd(byDay.get(day)[which])}`).join("\n");
      shapes.push(svg("g", { class: "day" },
        svg("rect", { class: "hit", x: left, y: EDGE.top, width: step, height: room.height }),
        svg("title", {}, `${day}\n${parts}`), bars));
      if ((days.length - 1 - at) % every === 0) {
        const label = new Date(`${day}T00:00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
        shapes.push(svg("text", { class: "axis", x: left + step / 2, y: HEIGHT - 6, "text-anchor": at === days.length - 1 ? "end" : "middle" }, label));
      }
    });
    return { height: HEIGHT, shapes };
  };
  const label = `Cost per day, ${usd(totals.cost_usd)} in ${totals.days} days`;
  return el("section", { class: "chart" }, el("h2", {}, "Cost per day"), drawing(label, draw), legend(names),
    figures(["Day", "Model", "Batches", "Cost", "Saved", "Unknown"],
      [...totals.per_day].reverse().map(([day, model, batches, paid, saved, unknown]) =>
        [day, model, number(batches), usd(paid), usd(saved), number(unknown)])));
}

export function turnaround(totals) {
  const bounds = [...totals.bounds_s.map((bound) => `≤ ${lasting(bound).replace(" 0 min", "")}`), "longer"];
  const models = Object.entries(totals.turnaround).sort(([, a], [, b]) => sum(b) - sum(a)).slice(0, SERIES);
  const { of } = series(totals);
  const rows = models.map(([model, counts]) => {
    const most = Math.max(...counts);
    const label = `${model}: ${counts.map((count, at) => `${count} ${bounds[at]}`).join(", ")}`;
    const draw = (width) => {
      const step = width / counts.length;
      const shapes = counts.map((count, at) => svg("g", { class: "day" },
        svg("rect", { class: "hit", x: at * step, y: 0, width: step, height: 34 }),
        svg("title", {}, `${model}\n${bounds[at]}: ${number(count)} batches`),
        svg("line", { class: "grid", x1: at * step + 1, x2: (at + 1) * step - 1, y1: 33.5, y2: 33.5 }),
        count ? svg("rect", { class: `s${Math.max(0, of(model))}`, x: at * step + 1.5, width: step - 3, rx: 1.5,
          y: 33 - Math.max(2, (count / most) * 31), height: Math.max(2, (count / most) * 31) }) : null));
      return { height: 35, shapes };
    };
    return el("div", { class: "histogram" },
      el("div", { class: "name" }, el("span", {}, model), el("small", {}, `${number(sum(counts))} batches`)),
      drawing(label, draw));
  });
  const scale = drawing("Up to", (width) => ({
    height: 16,
    shapes: bounds.map((bound, at) => (at % (width < 420 ? 3 : 2) ? null
      : svg("text", { class: "axis", x: (at + 0.5) * (width / bounds.length), y: 12, "text-anchor": at ? "middle" : "start",
        ...(at ? {} : { x: 0 }) }, bound))),
  }));
  return el("section", { class: "chart" }, el("h2", {}, "From submission to landing"),
    rows.length ? [rows, el("div", { class: "histogram" }, el("div", { class: "name" }), scale)]
      : el("p", { class: "quiet" }, "No batch has landed yet."),
    figures(["Model", ...bounds], models.map(([model, counts]) => [model, ...counts.map(number)])));
}
