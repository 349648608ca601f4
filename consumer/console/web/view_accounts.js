// Accounts, by the beginning of their ids and by status.
import { get } from "./api.js";
import { badge, field, h, id, section, select, table, values } from "./dom.js";
import { money, number } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";

export const statusBadge = (status) => badge(t(`status.${status}`, {}, status), status === "ACTIVE" ? "good" : "bad");

export const accountLink = (account) => h("a", { href: link(["accounts", account]) }, id(account));

// The next page of a list, and the way back.
export function pager(segments, query, next) {
  return h("p", { class: "actions" },
    query.after && h("a", { class: "button plain", href: link(segments, { ...query, after: null }) }, t("first_page")),
    next && h("a", { class: "button", href: link(segments, { ...query, after: next }) }, t("more")));
}

function filter(query) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(["accounts"], values(event.target));
  };
  return h("form", { class: "filter", submit },
    field(t("accounts.prefix"), h("input", { name: "prefix", value: query.prefix ?? "", spellcheck: "false" })),
    field(t("status"), select("status", [["", t("any")], ...["ACTIVE", "SUSPENDED"].map((each) => [each, t(`status.${each}`)])], query.status ?? "")),
    h("button", null, t("show")));
}

export async function accounts({ query }, signal) {
  const page = await get(["accounts"], { ...query, limit: 100 }, signal);
  return { ...page, title: t("accounts"), parts: [filter(query), section(t("accounts"), table(t("accounts"), [
    { head: t("account"), wide: true, cell: (row) => accountLink(row.account_id) },
    { head: t("status"), cell: (row) => statusBadge(row.status) },
    { head: t("balance"), number: true, cell: (row) => money(row.balance) },
    { head: t("accounts.sequence"), number: true, cell: (row) => number(row.account_sequence) },
    { head: t("shard"), number: true, cell: (row) => row.shard },
  ], page.items, { empty: t("accounts.none") }), pager(["accounts"], query, page.next))] };
}
