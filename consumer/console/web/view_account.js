// One account: what it uses now, what its packages hold, how its balance went, what it was told.
import { get, getAll } from "./api.js";
import { chart } from "./chart.js";
import { badge, bar, field, h, id, section, select, table, tile, tiles } from "./dom.js";
import { addDays, day, dayOf, daySeconds, daysBetween, money, moneyText, number, percent, service, time, timeText, unitsOf } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";
import { statusBadge } from "./view_accounts.js";

export const provisional = () => badge(t("provisional"), "provisional");

// ---- now ----

function summary(account) {
  const last = account.days.at(-1);
  const amount = account.days.reduce((sum, each) => sum + BigInt(each.amount), 0n);
  const calls = account.days.reduce((sum, each) => sum + each.calls, 0);
  return tiles(
    tile(t("balance"), money(account.balance)),
    tile(t("status"), statusBadge(account.status), account.status_since ? t("status.since", { time: timeText(account.status_since) }) : t("status.never")),
    last && tile(h("span", null, t("today.calls"), " ", provisional()), number(calls)),
    last && tile(h("span", null, t("today.amount"), " ", provisional()), money(amount)),
    last && tile(h("span", null, t("today.after"), " ", provisional()), money(last.balance_after),
      t("today.becomes", { status: t(`status.${last.status_after}`) }), last.status_after === "SUSPENDED" ? "bad" : null));
}

function today(account) {
  if (!account.provisional) return h("p", { class: "note" }, t("recorded_only"));
  const rows = account.days.flatMap((each) => each.services.map((used) => ({ ...used, of: each })));
  return [h("p", { class: "hint" }, provisional(), " ", t("provisional.why")), table(t("today"), [
    { head: t("day"), cell: (row) => [day(row.of.business_day), " ", badge(t(`phase.${row.of.phase}`, {}, row.of.phase), row.of.phase === "HELD" ? "bad" : null)] },
    { head: t("service"), cell: (row) => service(row.service) },
    { head: t("calls"), number: true, cell: (row) => number(row.calls) },
    { head: t("units"), number: true, cell: (row) => unitsOf(row.service, row.units) },
    { head: t("amount"), number: true, cell: (row) => money(row.amount) },
  ], rows, { empty: t("today.none"), rowClass: () => "provisional" })];
}

// ---- packages ----

const leftNow = (each) => each.remaining_now ?? each.remaining;

function packageCard(account, each, now) {
  const left = leftNow(each), drawn = each.remaining - left, expired = each.valid_until <= now;
  const days = daysBetween(now, each.valid_until);
  return h("li", { class: `package${expired || left === 0 ? " over" : ""}` },
    h("p", { class: "title" }, h("b", null, service(each.service)), h("a", { href: link(["accounts", account, "packages", each.package_id]) }, id(each.package_id))),
    bar([[left / each.units, "left"], [drawn / each.units, "drawn"]]),
    h("p", null, t("packages.left", { left: unitsOf(each.service, left), all: unitsOf(each.service, each.units) }),
      drawn > 0 && h("span", { class: "drawn" }, " · ", t("packages.today", { n: unitsOf(each.service, drawn) }))),
    h("p", { class: "muted" }, t("packages.valid", { day: timeText(each.valid_until) }), " · ",
      expired ? t("packages.expired") : left === 0 ? t("packages.used_up")
        : h("span", { class: days < 30 ? "soon" : null }, t("packages.days_left", { n: number(days) })),
      " · ", t("package.price"), " ", money(each.amount)));
}

function packages(account) {
  const now = account.as_of.time, sorted = account.packages.toSorted((a, b) => (a.valid_until < b.valid_until ? -1 : 1));
  const over = (each) => each.valid_until <= now || leftNow(each) === 0;
  const cards = (list) => h("ul", { class: "packages" }, list.map((each) => packageCard(account.account_id, each, now)));
  const used = sorted.filter(over), held = sorted.filter((each) => !over(each));
  return [sorted.length === 0 && h("p", { class: "empty" }, t("packages.none")), held.length > 0 && cards(held),
    used.length > 0 && h("details", { open: held.length === 0 }, h("summary", null, t("packages.over", { n: number(used.length) })), cards(used)),
    !account.packages_complete && h("p", { class: "note" }, t("packages.incomplete"))];
}

// ---- the past ----

function balance(statement) {
  const entries = statement.items;
  return chart({
    title: t("balance.over_time"), money: true, empty: t("balance.none"), x: entries.map((entry) => Date.parse(entry.at) / 1000),
    series: [{ label: t("balance"), values: entries.map((entry) => entry.balance), colour: "--accent" }],
    rows: entries.toReversed(), columns: [
      { head: t("time"), cell: (entry) => time(entry.at) },
      { head: t("reference"), wide: true, cell: (entry) => t(`kind.${entry.kind}`, {}, entry.kind) },
      { head: t("amount"), number: true, cell: (entry) => money(entry.amount) },
      { head: t("balance"), number: true, cell: (entry) => money(entry.balance) }] });
}

// Of all services of a day: {calls, provisional}.
function callsByDay(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.business_day, { provisional: row.provisional, calls: (found.get(row.business_day)?.calls ?? 0) + row.calls });
  return found;
}

// What was settled of each day, and what is not settled yet.
function usage(rows, account) {
  const days = callsByDay(rows), sums = [...days.values()];
  const settlement = (row) => h("a", { href: link(["accounts", account, "settlements", row.business_day]) }, day(row.business_day));
  return chart({
    title: t("usage"), empty: t("usage.none"), x: [...days.keys()].map(daySeconds),
    series: [
      { label: t("settled"), values: sums.map((sum) => (sum.provisional ? null : sum.calls)), colour: "--accent", bars: true },
      { label: t("provisional"), values: sums.map((sum) => (sum.provisional ? sum.calls : null)), colour: "--provisional", bars: true }],
    rows: rows.toReversed(), columns: [
      { head: t("day"), cell: (row) => (row.provisional ? [day(row.business_day), " ", provisional()] : settlement(row)) },
      { head: t("service"), cell: (row) => service(row.service) },
      { head: t("calls"), number: true, cell: (row) => number(row.calls) },
      { head: t("units"), number: true, cell: (row) => unitsOf(row.service, row.units) },
      { head: t("amount"), number: true, cell: (row) => money(row.amount) }] });
}

function history(changes) {
  return table(t("history"), [
    { head: t("time"), cell: (row) => time(row.effective_at) },
    { head: t("status"), cell: (row) => statusBadge(row.status) },
    { head: t("history.cause"), cell: (row) => t(`cause.${row.cause}`, {}, row.cause) },
    { head: t("balance"), number: true, cell: (row) => money(row.balance) },
    { head: t("reference"), wide: true, cell: (row) => (row.settlement_id
      ? h("a", { href: link(["accounts", row.settlement_id.slice(0, -11), "settlements", row.settlement_id.slice(-10)]) }, id(row.settlement_id)) : id(row.credit_id)) },
  ], changes.toReversed(), { empty: t("history.none") });
}

// What was passed: a share of the package, days, or an amount.
const THRESHOLDS = { PACKAGE_LOW: (share) => percent(share / 100), PACKAGE_EXPIRING: number, BALANCE_LOW: moneyText };
const threshold = (row) => t(`notice.threshold.${row.kind}`, { n: THRESHOLDS[row.kind]?.(row.threshold) }, "–");

function notices(rows, account) {
  const packaged = (row) => row.package_id !== null;
  return table(t("notices"), [
    { head: t("day"), cell: (row) => day(row.business_day) },
    { head: t("notices.kind"), cell: (row) => badge(t(`notice.${row.kind}`, {}, row.kind), "warn") },
    { head: t("notices.threshold"), cell: threshold },
    { head: t("notices.about"), wide: true, cell: (row) => (packaged(row)
      ? [h("a", { href: link(["accounts", account, "packages", row.package_id]) }, id(row.package_id)), h("small", { class: "block" }, service(row.service))]
      : t("balance")) },
    { head: t("notices.left"), number: true, cell: (row) => (packaged(row)
      ? [unitsOf(row.service, row.remaining), h("small", { class: "block" }, t("notices.of", { all: unitsOf(row.service, row.units) }))]
      : money(row.balance)) },
    { head: t("notices.until"), cell: (row) => time(row.valid_until) },
  ], rows.toReversed(), { empty: t("notices.none") });
}

const PERIODS = [31, 92, 366];

function period(account, days) {
  const change = (event) => { location.hash = link(["accounts", account], { days: event.target.value }); };
  const control = select("days", PERIODS.map((n) => [String(n), t("period.days", { n })]), String(days));
  control.addEventListener("change", change);
  return field(t("period"), control);
}

export async function account({ segments, query }, signal) {
  const name = segments[1], path = ["accounts", name], days = Number(query.days) || PERIODS[0];
  const found = await get(path, {}, signal);
  const from = addDays(found.as_of.open_day ?? dayOf(found.as_of.time), -days);
  const [used, statement, changes, told] = await Promise.all([
    getAll([...path, "usage"], { from }, signal), getAll([...path, "statement"], { from }, signal),
    getAll([...path, "status-changes"], {}, signal), getAll([...path, "notices"], { from }, signal)]);
  const to = (segment, text) => h("a", { class: "button", href: link([...path, segment]) }, text);
  return { ...found, title: name, heading: [t("account"), " ", id(name)],
    actions: h("p", { class: "actions" }, period(name, days), to("statement", t("account.statement")),
      h("a", { class: "button plain", href: link(["quote"], { account: name }) }, t("account.quote"))),
    parts: [summary(found), section(t("today"), today(found)), section(t("packages"), packages(found)),
      section(t("usage"), usage(used.items, name)), section(t("balance.over_time"), balance(statement)),
      section(t("history"), history(changes.items)), section(t("notices"), notices(told.items, name))] };
}
