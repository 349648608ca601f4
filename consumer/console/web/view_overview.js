// What operators look at first: does every shard go on, is a day held, does something wait for a decision.
import { get, getAll, text } from "./api.js";
import { chart } from "./chart.js";
import { badge, h, id, section, table, tile, tiles } from "./dom.js";
import { addDays, day, daySeconds, money, number, time, timeText } from "./format.js";
import { groupRows } from "./view_rejects.js";
import { link } from "./routes.js";
import { t } from "./texts.js";

const DAYS = 31;

// {topic: {partition: value}} of a metric; only of shards that this process has.
function metric(page, name) {
  const found = {};
  for (const [, labels, value] of page.matchAll(new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, "gm"))) {
    const label = (key) => labels.match(new RegExp(`${key}="((?:[^"\\\\]|\\\\.)*)"`))?.[1];
    (found[label("topic")] ??= {})[label("partition")] = Number(value);
  }
  return found;
}

async function health(signal) {
  const answer = await fetch("/healthz/ready", { signal, cache: "no-store" });
  return { ready: answer.ok, line: (await answer.text()).trim() };
}

function state(shard) {
  if (shard.held_since && !shard.released_at)
    return h("div", null, badge(t("phase.HELD"), "bad"), " ", h("small", null, t("overview.held.since", { time: timeText(shard.held_since) })),
      shard.holds.map((hold) => h("small", { class: "block" }, t("overview.hold", { ...hold, reasons: t(`reasons.${hold.reasons}`) }))));
  if (!shard.open_day) return badge("–");
  return h("span", null, badge(t("phase.OPEN"), "good"), shard.released_at && badge(t("overview.released"), "warn"));
}

function logs(shard, lag) {
  return h("ul", { class: "plain" }, shard.logs.map((log) => {
    const behind = lag[log.topic]?.[shard.shard];
    return h("li", null, id(log.topic), ` ${number(log.next_offset)} · `,
      behind === undefined ? h("span", { class: "muted" }, t("overview.elsewhere")) : `${t("overview.lag")}: ${number(behind)}`,
      log.undecided > 0 && [" · ", h("a", { href: link(["rejects"], { topic: log.topic, partition: shard.shard }) }, `${t("overview.rejects")}: ${number(log.undecided)}`)]);
  }));
}

function shardTable(shards, lag) {
  return table(t("overview.shards"), [
    { head: t("shard"), number: true, cell: (s) => s.shard },
    { head: t("overview.open_day"), cell: (s) => day(s.open_day) },
    { head: t("overview.state"), cell: state },
    { head: t("overview.positions"), wide: true, cell: (s) => logs(s, lag) },
    { head: t("overview.published"), number: true, cell: (s) => `${number(s.relayed)} / ${number(s.sequence)}` },
    { head: t("overview.committed"), cell: (s) => time(s.committed_at) },
  ], shards, { empty: t("overview.shards.none"), rowClass: (s) => (s.held_since && !s.released_at ? "bad" : null) });
}

// Of all shards: {business_day, settlements, amount, closes}, oldest first.
export function byDay(closes) {
  const found = new Map();
  for (const close of closes) {
    const sum = found.get(close.business_day) ?? { business_day: close.business_day, settlements: 0, amount: 0n, closes: 0 };
    found.set(close.business_day, { ...sum, settlements: sum.settlements + close.settlements, amount: sum.amount + BigInt(close.amount), closes: sum.closes + 1 });
  }
  return [...found.values()].sort((a, b) => (a.business_day < b.business_day ? -1 : 1));
}

function amounts(closes) {
  const sums = byDay(closes);
  return chart({
    title: t("overview.amounts"), money: true, x: sums.map((sum) => daySeconds(sum.business_day)), empty: t("overview.amounts.none"),
    series: [{ label: t("amount"), values: sums.map((sum) => sum.amount), colour: "--accent", bars: true }],
    rows: sums.toReversed(), columns: [
      { head: t("day"), cell: (sum) => h("a", { href: link(["days"], { from: sum.business_day, to: sum.business_day }) }, day(sum.business_day)) },
      { head: t("closes"), number: true, cell: (sum) => number(sum.closes) },
      { head: t("settlements"), number: true, cell: (sum) => number(sum.settlements) },
      { head: t("amount"), number: true, cell: (sum) => money(sum.amount) }] });
}

const sum = (list) => list.reduce((total, value) => total + value, 0);
const allOf = (found) => Object.values(found).flatMap((partitions) => Object.values(partitions));

function summary(shards, groups, lag, seconds, health) {
  const open = shards.map((shard) => shard.open_day).filter(Boolean).sort()[0];
  const held = shards.filter((shard) => shard.held_since && !shard.released_at).length;
  const waiting = sum(groups.map((group) => group.count)), backlog = sum(shards.map((shard) => shard.sequence - shard.relayed));
  const oldest = Math.max(0, ...allOf(seconds));
  return tiles(
    tile(t("overview.ready"), t(health.ready ? "overview.ready.yes" : "overview.ready.no"), health.ready ? null : health.line, health.ready ? "good" : "bad"),
    tile(t("overview.open_day"), day(open)),
    tile(t("overview.held"), number(held), null, held ? "bad" : null),
    tile(t("overview.lag"), number(sum(allOf(lag))), oldest >= 1 ? t("overview.lag.seconds", { n: number(Math.round(oldest)) }) : t("overview.lag.more")),
    tile(t("overview.rejects"), h("a", { href: link(["rejects"]) }, number(waiting)), null, waiting ? "warn" : null),
    tile(t("overview.backlog"), number(backlog)));
}

export async function overview(place, signal) {
  const [page, groups, metrics, ready] = await Promise.all([
    getAll(["shards"], {}, signal), get(["rejects", "groups"], { by: "reason" }, signal), text("/metrics", signal), health(signal)]);
  const open = page.items.map((shard) => shard.open_day).filter(Boolean).sort()[0];
  const closes = open ? await getAll(["days"], { from: addDays(open, -DAYS) }, signal) : { items: [] };
  const lag = metric(metrics, "settled_log_lag_records"), seconds = metric(metrics, "settled_log_lag_seconds");
  return { ...page, title: t("overview"), parts: [
    summary(page.items, groups.items, lag, seconds, ready),
    section(t("overview.shards"), shardTable(page.items, lag)),
    section(t("overview.amounts"), amounts(closes.items)),
    section(t("overview.by_reason"), groupRows(groups.items, t("overview.no_rejects")))] };
}
