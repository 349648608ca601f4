// Amounts, numbers, days and times as people of the chosen language write them; times are those of the price book's zone.
import { h } from "./dom.js";
import { language, t } from "./texts.js";

const ZONE = "Asia/Shanghai";
const locale = () => (language() === "zh" ? "zh-CN" : "en-GB");

const made = new Map();
function maker(name, make) {
  const key = `${name}/${locale()}`;
  if (!made.has(key)) made.set(key, make(locale()));
  return made.get(key);
}

// Fen, a number or a BigInt, as the digits of yuan: no binary fraction comes between.
function yuan(fen) {
  const whole = BigInt(fen);
  const size = whole < 0n ? -whole : whole;
  return `${whole < 0n ? "-" : ""}${size / 100n}.${String(size % 100n).padStart(2, "0")}`;
}

export const moneyText = (fen) => maker("money", (l) => new Intl.NumberFormat(l, {
  style: "currency", currency: "CNY", currencyDisplay: "narrowSymbol" })).format(yuan(fen));

export const money = (fen) =>
  h("span", { class: `money${BigInt(fen) < 0n ? " below" : ""}` }, fen === null ? "–" : moneyText(fen));

// For axes, where there is no room.
export const shortMoney = (fen) => maker("short", (l) => new Intl.NumberFormat(l, {
  notation: "compact", maximumFractionDigits: 1 })).format(Number(fen) / 100);

export const number = (value) => maker("number", (l) => new Intl.NumberFormat(l)).format(value);

export const percent = (share) => maker("percent", (l) => new Intl.NumberFormat(l, {
  style: "percent", maximumFractionDigits: 3 })).format(share);

const instant = (name, options) => maker(name, (l) => new Intl.DateTimeFormat(l, { timeZone: ZONE, ...options }));

export const timeText = (value) => instant("time", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23" }).format(new Date(value));

export const time = (value) => (value ? h("time", { datetime: value, title: value }, timeText(value)) : "–");

// A business day, as it stands in ids, file names and commands.
export const day = (value) => (value ? h("time", { datetime: value }, value) : "–");

// Seconds since 1970 at which a day begins; charts place days by these.
export const daySeconds = (value) => Date.parse(`${value}T00:00:00+08:00`) / 1000;

export const dayOf = (value) => new Date(Date.parse(value) + 8 * 3600e3).toISOString().slice(0, 10);

export function addDays(value, days) {
  return new Date(Date.parse(`${value}T00:00:00Z`) + days * 86400e3).toISOString().slice(0, 10);
}

export const daysBetween = (from, to) => Math.floor((Date.parse(to) - Date.parse(from)) / 86400e3);

export const month = (value) => maker("month", (l) => new Intl.DateTimeFormat(l, {
  timeZone: "UTC", year: "numeric", month: "long" })).format(new Date(`${value}-01T00:00:00Z`));

// What the books call the services; a name of ours where they say none in the chosen language.
const names = new Map();
const units = new Map();
export function learnServices(prices) {
  for (const service of prices.services) {
    names.set(service.service, service.name);
    units.set(service.service, service.unit);
  }
}

export function service(symbol) {
  if (language() === "zh" && names.has(symbol)) return names.get(symbol);
  return t(`service.${symbol}`, {}, symbol);
}

export const unitsOf = (symbol, count) =>
  t(units.get(symbol) === "CALL" || symbol === "AUDIENCE_INSIGHT" ? "units.calls" : "units.leads", { n: number(count) });

// A word of the shell, whatever the text holds.
export const shellWord = (value) => (/^[\w./:=@%+-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`);
