// A chart with its figures in a table beside it: who cannot see, or does not trust, the picture reads those.
import uPlot from "./uPlot.esm.js";
import { h, table } from "./dom.js";
import { shortMoney, number } from "./format.js";
import { t } from "./texts.js";

const HEIGHT = 240;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const axisStyle = (more) => ({
  stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
  font: "12px system-ui, sans-serif", ...more });

function series(each) {
  const stroke = colour(each.colour);
  const shape = each.bars ? { paths: uPlot.paths.bars({ size: [0.6, 36], radius: 0.15 }), fill: stroke, points: { show: false } }
    : { paths: uPlot.paths.stepped({ align: 1 }), fill: `${stroke}22`, width: 2, points: { show: each.values.length < 40, size: 6 } };
  return { label: each.label, stroke, ...shape };
}

// Beyond what a double tells apart a picture may round; the table does not.
const drawn = (list) => list.map((value) => (value === null ? null : Number(value)));

// The sparse labels of days: uPlot would write hours between two days that lie close together.
const DAYS = [1, 2, 3, 7, 14, 30, 90, 365].map((days) => days * 86400);

function options(width, spec) {
  const write = spec.money ? shortMoney : number;
  return {
    width, height: HEIGHT, legend: { show: false }, cursor: { y: false }, tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), "Asia/Shanghai"),
    scales: { x: { time: true, range: spec.bars ? (_, min, max) => [min - 43200, max + 43200] : undefined }, y: { range: spec.range } },
    axes: [
      axisStyle({ incrs: DAYS, values: (_, splits) => splits.map((s) => new Date((s + 8 * 3600) * 1e3).toISOString().slice(5, 10)) }),
      axisStyle({ size: 64, values: (_, splits) => splits.map(write) }),
    ],
    series: [{}, ...spec.series.map(series)],
  };
}

// From 0 up where nothing is below it.
const range = (_, min, max) => {
  const low = Math.min(0, min ?? 0), high = Math.max(0, max ?? 0), room = (high - low || 100) * 0.08;
  return [low < 0 ? low - room : 0, high + room];
};

// spec: {title, x: [seconds], series: [{label, values, colour: a CSS variable, bars}], money, columns, rows, empty}
export function chart(spec) {
  if (spec.rows.length === 0) return h("p", { class: "empty" }, spec.empty);
  const place = h("div", { class: "plot", role: "img", "aria-label": spec.title });
  const data = [spec.x, ...spec.series.map((each) => drawn(each.values))];
  let plot = null;
  const draw = () => {
    plot?.destroy();
    plot = new uPlot(options(place.clientWidth || 320, { ...spec, range, bars: spec.series.some((each) => each.bars) }), data, place);
  };
  const size = new ResizeObserver(() => (plot ? plot.setSize({ width: place.clientWidth, height: HEIGHT }) : draw()));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const recolour = () => (place.isConnected ? draw() : dark.removeEventListener("change", recolour));
  size.observe(place);
  dark.addEventListener("change", recolour);
  const legend = spec.series.length > 1 && h("ul", { class: "legend" }, spec.series.map((each) =>
    h("li", null, h("span", { class: `key ${each.colour.slice(2)}`, "aria-hidden": "true" }), each.label)));
  return h("figure", { class: "chart" }, h("div", null, legend, place),
    h("div", { class: "figures", tabindex: "0", role: "region", "aria-label": t("figures", { title: spec.title }) },
      table(spec.title, spec.columns, spec.rows, { empty: spec.empty })));
}
