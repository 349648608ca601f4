// The statement of a month, to be read and printed.
import { csv, getAll, get, has, Problem } from "./api.js";
import { field, h, id, section, table, values } from "./dom.js";
import { addDays, day, dayOf, money, month, number, service, time, unitsOf } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";
import { equation } from "./view_settlement.js";

const lastDay = (name) => addDays(nextMonth(name) + "-01", -1);
const nextMonth = (name) => addDays(`${name}-01`, 31).slice(0, 7);
const previousMonth = (name) => addDays(`${name}-01`, -1).slice(0, 7);

function download(path, query, name) {
  return async () => {
    const address = URL.createObjectURL(await csv(path, query));
    h("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60e3);
  };
}

function chooser(account, chosen) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(["accounts", account, "statement"], values(event.target));
  };
  const to = (name, text) => h("a", { class: "button plain", href: link(["accounts", account, "statement"], { month: name }) }, text);
  return h("form", { class: "filter unprinted", submit },
    field(t("statement.month"), h("input", { name: "month", type: "month", value: chosen, pattern: "\\d{4}-\\d{2}", required: true })),
    h("button", null, t("show")), to(previousMonth(chosen), t("statement.previous")), to(nextMonth(chosen), t("statement.next")));
}

function entries(items) {
  return table(t("statement.entries"), [
    { head: t("time"), cell: (row) => time(row.at) },
    { head: t("reference"), wide: true, cell: (row) => [t(`kind.${row.kind}`, {}, row.kind), " ", row.kind === "SETTLEMENT"
      ? h("a", { href: link(["accounts", row.reference.slice(0, -11), "settlements", row.reference.slice(-10)]) }, id(row.reference)) : id(row.reference),
    row.reason && h("small", { class: "block" }, id(row.reason))] },
    { head: t("amount"), number: true, cell: (row) => money(row.amount) },
    { head: t("balance"), number: true, cell: (row) => money(row.balance) },
  ], items, { empty: t("statement.entries.none") });
}

// The lines of all settlements of the month, as a month statement sums them up.
function byCharge(settlements) {
  const sums = new Map();
  for (const line of settlements.flatMap((each) => each.lines)) {
    const key = JSON.stringify([line.service, line.charge, line.package_id, line.tier_from, String(line.unit_price)]);
    const sum = sums.get(key) ?? { ...line, calls: 0, units: 0, amount: 0n };
    sums.set(key, { ...sum, calls: sum.calls + line.calls, units: sum.units + line.units, amount: sum.amount + BigInt(line.amount) });
  }
  return [...sums.values()];
}

function lines(rows) {
  return table(t("statement.summary"), [
    { head: t("service"), cell: (row) => service(row.service) },
    { head: t("how"), wide: true, cell: (row) => [t(`charge.${row.charge}`, {}, row.charge), " ", row.package_id !== null && id(row.package_id)] },
    { head: t("tier"), number: true, cell: (row) => (row.tier_from === null ? "–" : number(row.tier_from)) },
    { head: t("calls"), number: true, cell: (row) => number(row.calls) },
    { head: t("units"), number: true, cell: (row) => unitsOf(row.service, row.units) },
    { head: t("unit_price"), number: true, cell: (row) => money(row.unit_price) },
    { head: t("amount"), number: true, cell: (row) => money(row.amount) },
  ], rows, { empty: t("settlement.lines.none") });
}

// The month statement where it is there already; null while the month goes on.
async function recorded(path, chosen, signal) {
  if (!await has("/v1/accounts/{id}/statements/{month}")) return null;
  const list = await has("/v1/accounts/{id}/statements") ? (await getAll([...path, "statements"], {}, signal)).items : null;
  if (list && !list.some((each) => each.month === chosen)) return null;
  return get([...path, "statements", chosen], {}, signal).catch((error) => {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  });
}

export async function statement({ segments, query }, signal) {
  const account = segments[1], path = ["accounts", account];
  const owner = await get(path, {}, signal);
  const chosen = query.month ?? dayOf(`${owner.as_of.open_day ?? dayOf(owner.as_of.time)}T00:00:00+08:00`).slice(0, 7);
  const range = { from: `${chosen}-01`, to: lastDay(chosen) };
  const [booked, settlements, final] = await Promise.all([getAll([...path, "statement"], range, signal), getAll([...path, "settlements"], range, signal),
    recorded(path, chosen, signal)]);
  const body = final ?? booked;
  return { ...booked, title: `${t("statement")} ${account} ${chosen}`, heading: [t("statement"), " ", id(account), " · ", month(chosen)],
    actions: h("p", { class: "actions unprinted" }, h("button", { type: "button", click: () => print() }, t("print")),
      h("button", { type: "button", class: "plain", click: download([...path, "statement"], range, `statement-${chosen}.csv`) }, t("csv")),
      h("a", { class: "button plain", href: link(path) }, t("account"), " ", id(account))),
    parts: [chooser(account, chosen),
      section(final ? t("statement.final") : t("statement.running"), h("p", { class: "hint" }, day(range.from), " – ", day(range.to), " · ", t("settlement.equation")), equation(body),
        final && h("p", null, t("statement.bought"), " ", number(final.packages_bought), " · ", money(final.packages_amount))),
      section(t("statement.summary"), lines(final ? final.lines : byCharge(settlements.items))),
      section(t("statement.entries"), entries(booked.items), !booked.complete && h("p", { class: "note" }, t("all_rows", { n: number(booked.items.length) })))] };
}
