// What so many leads or calls cost with each way of paying.
import { get } from "./api.js";
import { badge, bar, field, h, id, section, select, table, tile, tiles, values } from "./dom.js";
import { money, number, service, unitsOf } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";

const LEADS = "PURCHASE_INTENT";

function form(query, services) {
  const submit = (event) => {
    event.preventDefault();
    const asked = values(event.target), unit = services.find((each) => each.service === asked.service).unit;
    const { leads, calls, ...rest } = asked;
    location.hash = link(["quote"], unit === "LEAD" ? { ...rest, leads } : { ...rest, calls });
  };
  const chosen = query.service ?? LEADS;
  const leads = field(t("quote.leads"), h("input", { name: "leads", value: query.leads ?? "8000,8000,8000", inputmode: "numeric" }));
  const calls = field(t("quote.calls"), h("input", { name: "calls", value: query.calls ?? "120", inputmode: "numeric" }));
  const control = select("service", services.map((each) => [each.service, service(each.service)]), chosen);
  const turn = () => {
    const byLeads = services.find((each) => each.service === control.value).unit === "LEAD";
    leads.hidden = !byLeads;
    calls.hidden = byLeads;
  };
  control.addEventListener("change", turn);
  turn();
  return h("form", { class: "filter", submit }, field(t("service"), control), leads, calls,
    field(t("quote.account"), h("input", { name: "account", value: query.account ?? "", spellcheck: "false" })),
    field(t("quote.day"), h("input", { name: "day", type: "date", value: query.day ?? "" })), h("button", null, t("quote.ask")));
}

const packagesText = (option, symbol) => option.packages.map((each) =>
  t("quote.packages", { count: number(each.count), units: unitsOf(symbol, each.units / each.count) })).join(" + ");

function options(quote) {
  const rows = [...quote.options];
  const same = rows.findIndex((each) => each.total === quote.least.total && each.way === quote.least.way && packagesText(each, quote.service) === packagesText(quote.least, quote.service));
  if (same < 0) rows.unshift(quote.least);
  const best = same < 0 ? rows[0] : rows[same], most = Math.max(...rows.map((each) => Number(each.total)), 1);
  return table(t("quote.results"), [
    { head: t("quote.way"), wide: true, cell: (row) => [row === best && [badge(`★ ${t("quote.star")}`, "good"), " "], t(`quote.way.${row.way}`, {}, row.way), " ", packagesText(row, quote.service)] },
    { head: t("quote.package_price"), number: true, cell: (row) => money(row.package_price) },
    { head: t("quote.postpaid"), number: true, cell: (row) => [h("small", null, unitsOf(quote.service, row.postpaid_units)), " ", money(row.postpaid_amount)] },
    { head: t("quote.left"), number: true, cell: (row) => unitsOf(quote.service, row.left_units) },
    { head: t("quote.total"), number: true, cell: (row) => [money(row.total), bar([[Number(row.total) / most, row === best ? "left" : "cost"]])] },
  ], rows, { empty: t("none"), rowClass: (row) => (row === best ? "best" : null) });
}

function results(quote) {
  return [tiles(tile(t("quote.need"), unitsOf(quote.service, quote.need_units)), tile(t("quote.held"), unitsOf(quote.service, quote.held_units)),
    tile(t("quote.least"), money(quote.least.total), null, "good")),
  section(t("quote.results"), options(quote), !quote.all_combinations && h("p", { class: "note" }, t("quote.not_all")),
    h("p", { class: "hint" }, t("settlement.book"), " ", id(quote.price_book.name), " ", h("code", { title: quote.price_book.sha256 }, quote.price_book.sha256.slice(0, 12))))];
}

export async function quote({ query }, signal) {
  const prices = await get(["prices"], {}, signal);
  const asked = query.leads || query.calls ? await get(["quote"], query, signal) : null;
  return { as_of: (asked ?? prices).as_of, title: t("quote"), parts: [form(query, prices.services),
    ...(asked ? results(asked) : [h("p", { class: "empty" }, t("quote.start"))])] };
}
