// Closed days with the chain of their digests.
import { get, getAll } from "./api.js";
import { badge, field, h, section, table, values } from "./dom.js";
import { addDays, day, money, number, time } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";
import { commandBlock } from "./command.js";

const DAYS = 14;
const NOTHING = "0".repeat(64);

// Each close with how it links to its shard's previous one, among those that are shown.
function linked(closes) {
  const last = new Map();
  return closes.map((close) => {
    const before = last.get(close.shard);
    last.set(close.shard, close);
    const state = close.previous_digest === NOTHING ? "first" : !before ? "before" : before.digest === close.previous_digest ? "good" : "bad";
    return { ...close, state };
  });
}

function filter(query, from) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(["days"], values(event.target));
  };
  return h("form", { class: "filter", submit }, field(t("from"), h("input", { name: "from", type: "date", value: from })),
    field(t("to"), h("input", { name: "to", type: "date", value: query.to ?? "" })), h("button", null, t("show")));
}

const short = (digest) => h("code", { title: digest }, `${digest.slice(0, 10)}…`);

const cutoffs = (close) => h("details", null, h("summary", null, t("days.cutoffs")), h("ul", { class: "plain" },
  close.cutoffs.map((cut) => h("li", null, t("days.cutoff", { ...cut, topic: `\u2068${cut.topic}\u2069`, from: number(cut.from_offset), to: number(cut.to_offset),
    by: cut.cut_by })))), h("p", null, t("days.digest"), " ", h("code", { class: "long" }, close.digest)));

function closeTable(closes) {
  const kinds = { good: "good", bad: "bad", first: "good", before: "" };
  return table(t("days"), [
    { head: t("day"), cell: (row) => day(row.business_day) },
    { head: t("shard"), number: true, cell: (row) => row.shard },
    { head: t("settlements"), number: true, cell: (row) => number(row.settlements) },
    { head: t("amount"), number: true, cell: (row) => money(row.amount) },
    { head: t("days.late"), number: true, cell: (row) => number(row.late) },
    { head: t("days.previous"), cell: (row) => short(row.previous_digest) },
    { head: t("days.digest"), cell: (row) => short(row.digest) },
    { head: t("days.link"), cell: (row) => badge(t(`days.link.${row.state}`), kinds[row.state]) },
    { head: t("days.closed"), cell: (row) => time(row.closed_at) },
    { head: t("days.cutoffs"), wide: true, cell: cutoffs },
  ], closes.toReversed(), { empty: t("days.none"), rowClass: (row) => (row.state === "bad" ? "bad" : null) });
}

export async function days({ query }, signal) {
  const shards = await get(["shards"], { limit: 1000 }, signal);
  const open = shards.items.map((shard) => shard.open_day).filter(Boolean).sort().at(-1);
  const from = query.from ?? (query.to || !open ? "" : addDays(open, -DAYS));
  const page = await getAll(["days"], { from, to: query.to }, signal);
  const closes = linked(page.items), broken = closes.filter((close) => close.state === "bad").length;
  return { ...page, title: t("days"), parts: [filter(query, from), section(t("days"), h("p", { class: "hint" }, t("days.intro")),
    closes.length > 0 && h("p", null, broken ? badge(t("days.some_broken", { n: broken }), "bad") : badge(t("days.all_link", { n: number(closes.length) }), "good")),
    closeTable(closes), !page.complete && h("p", { class: "note" }, t("all_rows", { n: number(page.items.length) })),
    h("p", { class: "hint" }, t("days.audit")), commandBlock("settled audit -c settled.yaml"))] };
}
