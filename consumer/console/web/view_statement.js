// The statement of a month, to be read and printed: as it was recorded when the month was over, or what is booked until now.
import { csv, getAll, get } from "./api.js";
import { field, h, id, section, table, values } from "./dom.js";
import { addDays, day, dayOf, money, month, number, time } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";
import { provisional } from "./view_account.js";
import { statusBadge } from "./view_accounts.js";
import { equation, lineColumns } from "./view_settlement.js";

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

const toMonth = (account, name, attributes, ...text) => h("a", { ...attributes, href: link(["accounts", account, "statement"], { month: name }) }, text);

function chooser(account, chosen) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(["accounts", account, "statement"], values(event.target));
  };
  const to = (name, text) => toMonth(account, name, { class: "button plain" }, text);
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

const lines = (rows, account) => table(t("statement.summary"), lineColumns(account), rows, { empty: t("settlement.lines.none") });

// What was recorded when the month was over.
const ended = (final) => [equation(final), h("p", null, statusBadge(final.status),
  [["calls", final.calls], ["settlements", final.settlements], ["statement.bought", final.packages_bought]].map(([name, count]) =>
    [" · ", t(name), " ", number(count)]), final.packages_bought > 0 && [" · ", money(final.packages_amount)])];

// All months of which there is a statement, the newest first.
function months(items, account, chosen) {
  return table(t("statement.months"), [
    { head: t("statement.month"), cell: (row) => toMonth(account, row.month, { "aria-current": row.month === chosen ? "page" : null }, month(row.month)) },
    { head: t("opening"), number: true, cell: (row) => money(row.opening_balance) },
    { head: t("credits"), number: true, cell: (row) => money(row.credits) },
    { head: t("adjustments"), number: true, cell: (row) => money(row.adjustments) },
    { head: t("amount"), number: true, cell: (row) => money(row.amount) },
    { head: t("closing"), number: true, cell: (row) => money(row.closing_balance) },
    { head: t("calls"), number: true, cell: (row) => number(row.calls) },
    { head: t("status"), cell: (row) => statusBadge(row.status) },
  ], items.toReversed(), { empty: t("statement.months.none") });
}

// Between the close of its last day and its statement a month is over, but not yet added up.
const isOver = (owner, booked, last) => owner.as_of.open_day > last && booked.items.length === 0;

// Of this month and account: {booked, settlements, written: the months with a statement, final: its own, or null}
async function askMonth(path, chosen, range, signal) {
  const [booked, settlements, written] = await Promise.all([getAll([...path, "statement"], range, signal),
    getAll([...path, "settlements"], range, signal), getAll([...path, "statements"], {}, signal)]);
  const final = written.items.some((each) => each.month === chosen) ? await get([...path, "statements", chosen], {}, signal) : null;
  return { booked, settlements: settlements.items, written: written.items, final };
}

function heading(owner, { final, booked }, last) {
  if (final) return t("statement.final");
  return isOver(owner, booked, last) ? t("statement.nothing") : [t("statement.running"), " ", provisional()];
}

function actions(account, chosen, range, final) {
  const path = ["accounts", account];
  return h("p", { class: "actions unprinted" }, h("button", { type: "button", click: () => print() }, t("print")),
    h("button", { type: "button", class: "plain", click: download([...path, "statement"], range, `statement-${chosen}.csv`) }, t("csv")),
    final && h("button", { type: "button", class: "plain", click: download([...path, "statements", chosen], {}, `month-${chosen}.csv`) }, t("statement.csv")),
    h("a", { class: "button plain", href: link(path) }, t("account"), " ", id(account)));
}

export async function statement({ segments, query }, signal) {
  const account = segments[1], path = ["accounts", account];
  const owner = await get(path, {}, signal);
  const chosen = query.month ?? (owner.as_of.open_day ?? dayOf(owner.as_of.time)).slice(0, 7);
  const range = { from: `${chosen}-01`, to: lastDay(chosen) };
  const found = await askMonth(path, chosen, range, signal), { booked, final } = found;
  return { ...booked, title: `${t("statement")} ${account} ${chosen}`, heading: [t("statement"), " ", id(account), " · ", month(chosen)],
    actions: actions(account, chosen, range, final),
    parts: [chooser(account, chosen),
      section(heading(owner, found, range.to), h("p", { class: "hint" }, day(range.from), " – ", day(range.to), " · ", t("settlement.equation")),
        final ? ended(final) : equation(booked)),
      section(t("statement.summary"), lines(final ? final.lines : byCharge(found.settlements), account)),
      section(t("statement.entries"), entries(booked.items), !booked.complete && h("p", { class: "note" }, t("all_rows", { n: number(booked.items.length) }))),
      h("div", { class: "unprinted" }, section(t("statement.months"), months(found.written, account, chosen)))] };
}
