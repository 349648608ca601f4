// A package, and what was drawn from it: before, drawn, after.
import { get, getAll } from "./api.js";
import { chart } from "./chart.js";
import { h, id, section, tile, tiles } from "./dom.js";
import { day, daySeconds, money, number, service, time, unitsOf } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";

// An id may come again after it was forgotten; the offset of the purchase tells its packages apart.
function summary(each) {
  return tiles(tile(t("service"), service(each.service)),
    tile(t("packages"), t("packages.left", { left: unitsOf(each.service, each.remaining), all: unitsOf(each.service, each.units) })),
    tile(t("to"), time(each.valid_until)), tile(t("package.price"), money(each.amount)));
}

const byPackage = (rows) => Map.groupBy(rows, (row) => row.package_offset);

function drawnFrom(rows, account) {
  const ends = new Map(rows.map((row) => [row.business_day, row.after]));
  return [chart({
    title: t("packages.after"), empty: t("packages.no_deductions"), x: [...ends.keys()].map(daySeconds),
    series: [{ label: t("packages.after"), values: [...ends.values()], colour: "--accent" }],
    rows: rows.toReversed(), columns: [
      { head: t("day"), cell: (row) => h("a", { href: link(["accounts", account, "settlements", row.business_day]) }, day(row.business_day)) },
      { head: t("usage_day"), cell: (row) => day(row.usage_day) },
      { head: t("packages.before"), number: true, cell: (row) => number(row.before) },
      { head: t("packages.drawn"), number: true, cell: (row) => number(row.drawn) },
      { head: t("packages.after"), number: true, cell: (row) => number(row.after) },
      { head: t("calls"), number: true, cell: (row) => number(row.calls) }] })];
}

export async function deductions({ segments }, signal) {
  const [, account, , name] = segments;
  const [rows, owner] = await Promise.all([
    getAll(["accounts", account, "packages", name, "deductions"], {}, signal), get(["accounts", account], {}, signal)]);
  const groups = byPackage(rows.items), mine = owner.packages.filter((each) => each.package_id === name);
  return { ...rows, title: `${t("package")} ${name}`, heading: [t("package"), " ", id(name)],
    actions: h("p", { class: "actions" }, h("a", { class: "button plain", href: link(["accounts", account]) }, t("account"), " ", id(account))),
    parts: [mine.map(summary), ...[...groups.values()].map((list) => section(t("packages.deductions"), drawnFrom(list, account))),
      groups.size === 0 && section(t("packages.deductions"), h("p", { class: "empty" }, t("packages.no_deductions")))].flat().filter(Boolean) };
}
