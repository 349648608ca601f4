// What is recorded of a deployment: parameters, price books, decisions of operators; and the prices of a day.
import { get, getAll } from "./api.js";
import { badge, field, h, id, section, table, values } from "./dom.js";
import { day, money, moneyText, number, percent, service, time, unitsOf } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";

const SHARES = ["max_reject_share_ppm", "max_refused_share_ppm"], SPANS = ["grace_ms", "future_tolerance_ms"];

function parameter(name, value) {
  if (name === "balance_below") return value.length ? value.map(moneyText).join(", ") : t("none");
  if (name === "package_left") return value.map((each) => percent(each / 100)).join(", ") || t("none");
  if (name === "expiring_days") return value.map(number).join(", ") || t("none");
  if (SHARES.includes(name)) return percent(value / 1e6);
  if (SPANS.includes(name)) return t("minutes", { n: number(value / 60000) });
  return typeof value === "number" ? number(value) : value;
}

const PARAMETERS = ["grace_ms", "late_days", "future_tolerance_ms", "credit_days", "max_reject_share_ppm", "max_refused_share_ppm",
  "package_left", "expiring_days", "balance_below"];

const pairs = (list) => h("dl", { class: "pairs" }, list.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));

// Those of one day and all that follow, until the next ones hold.
function parameters(row) {
  return h("div", { class: "group" }, h("h3", null, t("deployment.from_day"), " ", row.from_day ? day(row.from_day) : t("deployment.always")),
    pairs([...PARAMETERS.map((name) => [t(`parameter.${name}`), parameter(name, row[name])]),
      [t("settlement.book"), h("code", { title: row.price_book }, row.price_book.slice(0, 12))],
      [t("deployment.recorded"), time(row.recorded_at)], [t("deployment.recorded_by"), id(row.recorded_by)]]));
}

function recorded(found) {
  return [
    section(t("deployment.fixed"), pairs(Object.entries(found.fixed).map(([name, value]) =>
      [t(name === "recorded_at" ? "deployment.recorded" : `parameter.${name}`, {}, name), name === "recorded_at" ? time(value) : id(String(value))]))),
    section(t("deployment.parameters"), found.parameters.length === 0 ? h("p", { class: "empty" }, t("deployment.none"))
      : found.parameters.toReversed().map(parameters)),
    section(t("deployment.books"), table(t("deployment.books"), [
      { head: t("settlement.book"), wide: true, cell: (row) => [id(row.name), h("code", { class: "long block" }, row.sha256)] },
      { head: t("deployment.from_day"), cell: (row) => (row.effective_from ? day(row.effective_from) : t("deployment.always")) },
      { head: t("deployment.recorded"), cell: (row) => time(row.recorded_at) },
      { head: t("deployment.recorded_by"), cell: (row) => id(row.recorded_by) },
    ], found.books, { empty: t("deployment.none") }))];
}

const perUnit = (offer) => [Number(offer.price) % offer.units ? "≈ " : "", money(Math.round(Number(offer.price) / offer.units))];

function serviceCard(each) {
  return h("div", { class: "prices" }, h("h3", null, service(each.service), " ", h("small", null, each.service)),
    table(t("deployment.tiers"), [
      { head: t(each.tiered ? "deployment.tiers" : "charge.POSTPAID"), cell: (row) => (each.tiered ? t("deployment.tier", { from: unitsOf(each.service, row.from) }) : t("deployment.per_unit")) },
      { head: t("unit_price"), number: true, cell: (row) => money(row.unit_price) },
    ], each.tiers, { empty: t("none") }),
    table(t("deployment.offers"), [
      { head: t("deployment.offers"), cell: (row) => unitsOf(each.service, row.units) },
      { head: t("quote.total"), number: true, cell: (row) => money(row.price) },
      { head: t("deployment.per_unit"), number: true, cell: (row) => perUnit(row) },
    ], each.packages, { empty: t("none") }),
    each.custom_package && h("p", null, t("deployment.custom", { minimum: unitsOf(each.service, each.custom_package.minimum),
      step: unitsOf(each.service, each.custom_package.step), price: "" }), money(each.custom_package.price_per_step)));
}

function prices(found, query) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(["deployment"], values(event.target));
  };
  return [h("form", { class: "filter", submit }, field(t("day"), h("input", { name: "day", type: "date", value: query.day ?? found.day })), h("button", null, t("show"))),
    h("p", null, id(found.price_book.name), " ", h("code", { title: found.price_book.sha256 }, found.price_book.sha256.slice(0, 12)), " ",
      badge(found.price_book.effective_from ? `${t("deployment.from_day")} ${found.price_book.effective_from}` : t("deployment.always"))),
    h("div", { class: "books" }, found.services.map(serviceCard))];
}

function decisions(page) {
  return table(t("deployment.decisions"), [
    { head: t("deployment.decided_at"), cell: (row) => time(row.decided_at) },
    { head: t("deployment.decision"), cell: (row) => badge(t(`decision.${row.kind}`, {}, row.kind)) },
    { head: t("deployment.operator"), wide: true, cell: (row) => id(row.operator) },
    { head: t("topic"), wide: true, cell: (row) => id(row.topic) },
    { head: t("deployment.records"), number: true, cell: (row) => number(row.records) },
    { head: t("day"), cell: (row) => day(row.business_day) },
    { head: t("shard"), number: true, cell: (row) => `${row.shard} / ${row.number}` },
  ], page.items.toReversed(), { empty: t("deployment.decisions.none") });
}

export async function deployment({ query }, signal) {
  const [found, book, decided] = await Promise.all([get(["deployment"], {}, signal), get(["prices"], { day: query.day }, signal),
    getAll(["decisions"], {}, signal)]);
  return { ...book, title: t("deployment"), parts: [
    ...recorded(found),
    section(t("deployment.prices", { day: book.day }), prices(book, query)),
    section(t("deployment.decisions"), decisions(decided))] };
}
