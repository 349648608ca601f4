// What could not be billed: how much of each kind, what one looks like, and the command with which an operator decides.
import { get } from "./api.js";
import { badge, field, h, id, section, select, table, values } from "./dom.js";
import { number, shellWord, time } from "./format.js";
import { link } from "./routes.js";
import { t } from "./texts.js";
import { accountLink, pager } from "./view_accounts.js";
import { commandBlock } from "./command.js";

const FILTERS = ["topic", "partition", "reason", "account", "from", "to", "all"];
const REASONS = ["UNDECODABLE", "UNKNOWN_SCHEMA", "INCOMPATIBLE_SCHEMA", "MISROUTED", "INVALID", "FROM_FUTURE", "TOO_LATE", "REFUND", "NOT_FOR_SALE", "CONFLICT"];
const OPTIONS = { topic: "--topic", partition: "--partition", reason: "--reason", account: "--account", from: "--from-day", to: "--to-day" };

const reasonBadge = (reason) => h("span", { title: t(`reject.${reason}`, {}, reason) }, badge(reason, reason === "WAITING" ? "warn" : "bad"));
const placeOf = (row) => `${row.topic}/${row.partition}/${row.offset}`;

// An option and its value are one word where the value could be taken for an option.
function command(verb, chosen, places = []) {
  const options = Object.entries(OPTIONS).filter(([name]) => chosen[name]).map(([name, option]) => `${option}=${shellWord(chosen[name])}`);
  return ["settled rejects", verb, "-c settled.yaml", ...options, ...places.map(shellWord)].join(" ");
}

// What a group adds to the filter; null: commands cannot choose it.
function chosenBy(by, group, query) {
  const filter = Object.fromEntries(FILTERS.filter((name) => name !== "all" && query[name]).map((name) => [name, query[name]]));
  if (by === "schema" || (by === "account" && !group.first.account_id)) return null;
  return { ...filter, [by]: group.group };
}

const sample = (row) => h("span", null, h("code", null, placeOf(row)), " ", time(row.received_at), " ",
  row.account_id !== null && [id(row.account_id), " "], row.record_id !== null && [id(row.record_id), " "], h("small", { class: "block" }, id(row.detail)));

export function groupRows(groups, empty) {
  return table(t("rejects.groups"), [
    { head: t("reason"), cell: (row) => h("a", { href: link(["rejects"], { reason: row.group === "WAITING" ? null : row.group }) }, reasonBadge(row.group)) },
    { head: t("count"), number: true, cell: (row) => number(row.count) },
    { head: t("account"), number: true, cell: (row) => number(row.accounts) },
    { head: t("rejects.sample"), wide: true, cell: (row) => sample(row.first) },
  ], groups, { empty });
}

function commands(by, group, query) {
  const chosen = chosenBy(by, group, query);
  if (group.group === "WAITING") return commandBlock(command("refuse", {}, [placeOf(group.first)]), t("rejects.refuse"));
  if (!chosen) return h("p", { class: "note" }, t("rejects.no_command"));
  return [commandBlock(command("requeue", chosen), t("rejects.requeue")), commandBlock(command("accept", chosen), t("rejects.accept")),
    h("p", { class: "hint" }, t("rejects.dry"))];
}

function groupCard(by, group, query) {
  const title = by === "reason" ? [reasonBadge(group.group), " ", t(`reject.${group.group}`, {}, "")] : [id(group.group), " ", h("small", null, group.reasons)];
  return h("li", { class: "group" }, h("h3", null, title),
    h("p", null, t("rejects.records", { n: number(group.count) }), " · ", t("rejects.accounts", { n: number(group.accounts) })),
    h("p", { class: "sample" }, h("b", null, t("rejects.sample")), " ", sample(group.first)), commands(by, group, query));
}

function rowCommand(row) {
  if (row.reason === "WAITING") return h("code", null, command("refuse", {}, [placeOf(row)]));
  return row.state === "open" ? h("details", null, h("summary", null, t("rejects.commands")), commandBlock(command("requeue", {}, [placeOf(row)])),
    commandBlock(command("accept", {}, [placeOf(row)]))) : "–";
}

function list(page) {
  return table(t("rejects.list"), [
    { head: t("reason"), cell: (row) => reasonBadge(row.reason) },
    { head: t("rejects.place"), cell: (row) => h("code", null, placeOf(row)) },
    { head: t("rejects.received"), cell: (row) => time(row.received_at) },
    { head: t("account"), wide: true, cell: (row) => (row.account_id === null ? "–" : accountLink(row.account_id)) },
    { head: t("rejects.record"), wide: true, cell: (row) => (row.record_id === null ? "–" : id(row.record_id)) },
    { head: t("rejects.detail"), wide: true, cell: (row) => id(row.detail) },
    { head: t("rejects.state"), cell: (row) => t(`state.${row.state}`, {}, row.state) },
    { head: t("rejects.commands"), cell: rowCommand },
  ], page.items, { empty: t("rejects.none") });
}

function filter(query, by) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = link(["rejects"], values(event.target));
  };
  const control = (name, type) => h("input", { name, type, value: query[name] ?? "", spellcheck: "false" });
  return h("form", { class: "filter", submit, "aria-label": t("rejects.filter") },
    field(t("rejects.by"), select("by", ["reason", "schema", "account", "topic"].map((each) => [each, t(`rejects.by.${each}`)]), by)),
    field(t("reason"), select("reason", [["", t("any")], ...REASONS.map((each) => [each, `${each} ${t(`reject.${each}`)}`])], query.reason ?? "")),
    field(t("topic"), control("topic", "text")), field(t("account"), control("account", "text")),
    field(t("from"), control("from", "date")), field(t("to"), control("to", "date")),
    field(t("rejects.all"), h("input", { name: "all", type: "checkbox", value: "true", checked: query.all === "true" })), h("button", null, t("show")));
}

export async function rejects({ query }, signal) {
  const by = query.by ?? "reason", chosen = Object.fromEntries(FILTERS.map((name) => [name, query[name]]));
  const [groups, page] = await Promise.all([get(["rejects", "groups"], { ...chosen, by, limit: 50 }, signal),
    get(["rejects"], { ...chosen, after: query.after, limit: 20 }, signal)]);
  return { ...page, title: t("rejects"), parts: [filter(query, by),
    section(t("rejects.groups"), groups.items.length === 0 ? h("p", { class: "empty" }, t("rejects.none"))
      : h("ul", { class: "groups" }, groups.items.map((group) => groupCard(by, group, query)))),
    section(t("rejects.list"), list(page), pager(["rejects"], query, page.next))] };
}
