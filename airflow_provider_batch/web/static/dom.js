// Elements without markup: whatever came from a model or a file is text, and stays text.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties that begin with "on" are listeners; null and false are left out. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for drawings. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/** Put elements in the place of others. The keyboard stays on the button or link that it was on. */
export function put(room, ...children) {
  const held = room.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  room.replaceChildren(...children);
  if (held) [...room.querySelectorAll("a, button, summary")].find((one) => nameOf(one) === held)?.focus({ preventScroll: true });
}

const nameOf = (element) => JSON.stringify([element.tagName, element.getAttribute("href"), element.getAttribute("aria-label") ?? element.textContent]);

/** Where Airflow is: one folder above this page, wherever a proxy has put it. */
export const AIRFLOW = new URL("../", new URL("./", location.href));

/** A path of Airflow's UI. */
export function airflowUrl(...parts) {
  return new URL(parts.map(encodeURIComponent).join("/"), AIRFLOW).href;
}

export function taskUrl(task) {
  const mapped = task.map_index >= 0 ? ["mapped", task.map_index] : [];
  return airflowUrl("dags", task.dag_id, "runs", task.run_id, "tasks", task.task_id, ...mapped);
}

/** The frame around this page, if it is Airflow's. */
export function frame() {
  if (window.parent === window) return null;
  try {
    return window.parent.location.origin === location.origin ? window.parent : null;
  } catch {
    return null;
  }
}

/** A link into Airflow. It leads there in the whole window: Airflow's frame lets this page open none. */
export function link(href, text, attributes = {}) {
  const leave = (event) => {
    const outer = frame();
    if (!outer || event.metaKey || event.ctrlKey || event.button) return;
    event.preventDefault();
    const there = outer.document.createElement("a");
    there.href = href;
    outer.document.body.append(there);
    there.click();
    there.remove();
  };
  return el("a", { href, onclick: leave, ...attributes }, text);
}

const whole = new Intl.NumberFormat("en-US");
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const short = (value) => (value === null || value === undefined ? "–" : compact.format(value));

export function usd(value) {
  if (value === null || value === undefined) return "unknown";
  const digits = value === 0 || Math.abs(value) >= 1 ? 2 : Math.abs(value) >= 0.01 ? 3 : 6;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits })}`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toFixed(unit && value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds in words, the two largest units at most. */
export function lasting(seconds) {
  const left = Math.max(0, Math.round(seconds));
  if (left < 60) return `${left} s`;
  if (left < 3600) return `${Math.floor(left / 60)} min`;
  if (left < 36_000) return `${Math.floor(left / 3600)} h ${Math.floor((left % 3600) / 60)} min`;
  if (left < 172_800) return `${Math.floor(left / 3600)} h`;
  return `${Math.floor(left / 86_400)} d`;
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/** How long ago, with the time itself for whoever points at it. */
export function ago(seconds, now) {
  if (seconds === null || seconds === undefined) return "–";
  const iso = new Date(seconds * 1000).toISOString();
  return el("time", { datetime: iso, title: moment(seconds) }, `${lasting(now - seconds)} ago`);
}

export function news(text) {
  document.getElementById("news").textContent = text;
}

export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

export const keyOf = (task) => JSON.stringify([task.dag_id, task.run_id, task.task_id, task.map_index]);
