// The settlement of one account for one day: its sum, its lines, and at request the calls behind them.
import { get, getAll } from "./api.js";
import { badge, h, id, section, table } from "./dom.js";
import { day, money, number, service, shellWord, time, unitsOf } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";
import { statusBadge } from "./view_accounts.js";
import { commandBlock } from "./command.js";

export const equation = (each) => h("dl", { class: "equation" },
  [["opening", each.opening_balance, ""], ["credits", each.credits, "+"], ["adjustments", each.adjustments, "+"],
    ["amount", each.amount, "−"], ["closing", each.closing_balance, "="]].map(([name, value, sign]) =>
    h("div", null, h("dt", null, t(name)), h("dd", null, sign && h("span", { class: "sign" }, sign), money(value)))));

// A call that a package covers in part stands on two lines.
const charge = (row) => [t(`charge.${row.charge}`, {}, row.charge), " ", row.package_id !== null && id(row.package_id)];

// What lines of settlements and of months have.
export const lineColumns = (account) => [
  { head: t("service"), cell: (row) => service(row.service) },
  { head: t("how"), wide: true, cell: (row) => [t(`charge.${row.charge}`, {}, row.charge), " ",
    row.package_id !== null && h("a", { href: link(["accounts", account, "packages", row.package_id]) }, id(row.package_id))] },
  { head: t("tier"), number: true, cell: (row) => (row.tier_from === null ? "–" : number(row.tier_from)) },
  { head: t("calls"), number: true, cell: (row) => number(row.calls) },
  { head: t("units"), number: true, cell: (row) => unitsOf(row.service, row.units) },
  { head: t("unit_price"), number: true, cell: (row) => money(row.unit_price) },
  { head: t("amount"), number: true, cell: (row) => money(row.amount) },
];

function callTable(rows) {
  return table(t("settlement.calls"), [
    { head: t("time"), cell: (row) => time(row.occurred_at) },
    { head: t("service"), cell: (row) => service(row.service) },
    { head: t("settlement.call"), wide: true, cell: (row) => id(row.call_id) },
    { head: t("settlement.request"), wide: true, cell: (row) => (row.request_id ? id(row.request_id) : "–") },
    { head: t("units"), number: true, cell: (row) => unitsOf(row.service, row.units) },
    { head: t("how"), wide: true, cell: charge },
    { head: t("unit_price"), number: true, cell: (row) => money(row.unit_price) },
    { head: t("settlement.offset"), number: true, cell: (row) => row.kafka_offset },
  ], rows, { empty: t("settlement.calls.none") });
}

const AGAIN_MS = 2000;

// While they are read from the log the answer is 503: it is asked for again until it is there, or nobody waits any more.
async function readCalls(path, place) {
  for (;;) {
    try {
      return await getAll([...path, "calls"], {}, undefined, 2);
    } catch (error) {
      if (error.status !== 503 || !place.isConnected) throw error;
      place.replaceChildren(h("p", { class: "loading" }, t("loading"), " ", error.detail));
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    }
  }
}

function calls(path) {
  const place = h("div", { "aria-live": "polite" });
  const ask = async (event) => {
    const button = event.target;
    button.disabled = true;
    place.replaceChildren(h("p", { class: "loading" }, t("loading")));
    try {
      const found = await readCalls(path, place);
      place.replaceChildren(callTable(found.items), found.complete ? "" : h("p", { class: "note" }, t("all_rows", { n: number(found.items.length) })));
    } catch (error) {
      place.replaceChildren(h("p", { class: "note", role: "alert" }, `${error.title} ${error.detail}`));
      button.disabled = false;
    }
  };
  return [h("p", { class: "hint" }, t("settlement.calls.why")), h("button", { type: "button", click: ask }, t("settlement.calls.show")), place];
}

export async function settlement({ segments }, signal) {
  const [, account, , business_day] = segments, path = ["accounts", account, "settlements", business_day];
  const found = await get(path, {}, signal);
  const lines = found.lines.map((each) => ({ ...each, late: each.usage_day < business_day }));
  return { title: `${t("settlement")} ${found.settlement_id}`, heading: [t("settlement"), " ", id(found.settlement_id)],
    actions: h("p", { class: "actions" }, h("a", { class: "button plain", href: link(["accounts", account]) }, t("account"), " ", id(account))),
    parts: [
      section(t("settlement.equation"), equation(found), h("p", null, statusBadge(found.status), " ", t("calls"), " ", number(found.calls),
        found.calls_while_suspended > 0 && [" · ", t("calls.suspended"), " ", number(found.calls_while_suspended)],
        " · ", t("settlement.closed", { time: "" }), time(found.as_of.time), " · ",
        t("settlement.book"), " ", h("code", { title: found.price_book }, found.price_book.slice(0, 12)))),
      section(t("settlement.lines"), table(t("settlement.lines"), [
        { head: t("usage_day"), cell: (row) => [day(row.usage_day), " ", row.late && badge(t("late"), "warn")] },
        ...lineColumns(account)], lines, { empty: t("settlement.lines.none") })),
      section(t("settlement.calls"), calls(path), h("p", null, t("settlement.command")),
        commandBlock(`settled explain -c settled.yaml ${shellWord(account)} ${business_day}`))] };
}
