// What the page asks the server.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const HERE = new URL("./", location.href);

async function call(path, wanted, options) {
  const url = new URL(`api/${path}`, HERE);
  for (const [key, value] of Object.entries(wanted)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(key, value);
  }
  let answer;
  try {
    answer = await asked(url, options);
  } catch {
    throw new Refused(0, "Airflow's API server does not answer.");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const detail = typeof said.detail === "string" ? said.detail : `The server answered with ${answer.status}.`;
  throw new Refused(answer.status, detail);
}

let token = null;

/** By the cookie of the login; in the first versions of Airflow 3.1 the token is in the browser's storage instead. */
async function asked(url, options) {
  const mine = token;
  const answer = await withToken(url, mine, options);
  const stored = localStorage.getItem("token");
  if (answer.status !== 401 || !stored || stored === mine) return answer;
  token = stored;
  return withToken(url, stored, options);
}

function withToken(url, known, options) {
  const headers = { "X-Requested-With": "gemini-batches" };
  return fetch(url, { headers: known ? { ...headers, Authorization: `Bearer ${known}` } : headers, ...options });
}

export const batches = (wanted) => call("batches", wanted);
export const totals = (days) => call("totals", { days });
export const live = () => call("live", {});
export const batch = (task) => call("batch", named(task));
export const cancel = (task) => call("batch/cancel", named(task), { method: "POST" });

function named({ dag_id, run_id, task_id, map_index }) {
  return { dag_id, run_id, task_id, map_index };
}
