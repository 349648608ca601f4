// Asks the API of the server that sent this page. Nothing is ever asked of another one.

const TOKEN = "settled.token";

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

// What the API refuses (RFC 9457), and what keeps it from being asked.
export class Problem extends Error {
  constructor({ type, title, detail, status }) {
    super(title);
    Object.assign(this, { type, title, detail, status });
  }

  get kind() {
    return (this.type ?? "").replace("urn:settled:problem:", "");
  }
}

// Numbers above 2^53 stay exact where the browser can tell how they were written.
function exact(_, value, context) {
  const whole = typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "");
  return whole ? BigInt(context.source) : value;
}

export function target(segments, query = {}) {
  if (segments.some((segment) => segment === "." || segment === ".."))
    throw new Problem({ type: "unreachable", title: "", detail: "curl --path-as-is", status: 0 });
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return "/" + segments.map((segment) => encodeURIComponent(segment)).join("/") +
    (given.length ? "?" + new URLSearchParams(given) : "");
}

async function ask(path, accept, signal) {
  const headers = { Accept: accept };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let answer;
  try {
    answer = await fetch(path, { headers, signal, credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ type: "unreached", title: "", detail: String(error.message), status: 0 });
  }
  if (answer.ok) return answer;
  let said = {};
  try {
    said = JSON.parse(await answer.text());
  } catch {
    // An answer that is no problem of the API, of a proxy perhaps: its status is all that is known.
  }
  throw new Problem({ title: answer.statusText, detail: "", ...said, status: answer.status });
}

export async function get(segments, query, signal) {
  const answer = await ask(target(["v1", ...segments], query), "application/json", signal);
  return JSON.parse(await answer.text(), exact);
}

// All rows of a list, page by page, up to so many pages; `complete` says whether these were all.
export async function getAll(segments, query, signal, pages = 10) {
  const items = [];
  let page, after;
  for (let count = 0; count < pages; count++) {
    page = await get(segments, { limit: 1000, ...query, after }, signal);
    items.push(...page.items);
    after = page.next;
    if (!after) break;
  }
  return { ...page, items, complete: !after };
}

export async function text(path, signal) {
  return (await ask(path, "text/plain, */*;q=0.1", signal)).text();
}

export async function csv(segments, query) {
  return (await ask(target(["v1", ...segments], query), "text/csv")).blob();
}
