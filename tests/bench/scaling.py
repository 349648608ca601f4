#!/usr/bin/env python3
"""Writes the tables of consumer/SCALING.md: its figures are rows of tests/bench/RESULTS.md, and all else is computed from
them by the formulas that stand here and are printed beside their results.

    tests/bench/scaling.py [--check]      with --check it writes nothing, and ends with 1 if a table is another now

Of each row the newest figure counts. bench.py --record writes the results.
"""

import argparse
import dataclasses
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "bench" / "RESULTS.md"
PAGE = ROOT / "consumer" / "SCALING.md"
CELLS = 9  # of a row of the results
# What the formulas call a figure: its row, and the unit.
INPUTS = {
    "one": ("ingest, one worker", "calls/s"),
    "two": ("ingest, two workers", "calls/s"),
    "cpu": ("ingest, two workers, CPU", "ns a call"),
    "held": ("the fold, 10 M calls held: memory", "bytes a call"),
    "replay": ("restart: calls replayed", "calls/s"),
    "close": ("close of a day, 250,000 accounts: growth", "µs an account"),
    "relay": ("relay of one shard", "rows/s"),
    "call": ("room: a call in Kafka", "bytes"),
    "row": ("room: a settlement in PostgreSQL, for good", "bytes"),
    "account": ("room: an account in PostgreSQL", "bytes"),
}
SHARD_CALLS = 4_000_000_000  # the upper bound of run.max_calls_held
ACCOUNTS = 1_000_000  # with usage on each day
MACHINE = 200 * 2**30  # bytes for calls, of a machine with 256 GiB
REPLICAS = 3


class Failed(Exception):
    """The results or the page lack something."""


@dataclasses.dataclass(frozen=True)
class Figure:
    value: float
    date: str  # of the run


def figures_of(text):
    """By row, of the newest section that has one: settled's figure."""
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        date = section.splitlines()[0]
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == CELLS and re.fullmatch(r"[\d.,]+", cells[3]):
                found.setdefault(cells[0], Figure(float(cells[3].replace(",", "")), date))
    return found


def inputs_of(figures):
    missing = [row for row, _ in INPUTS.values() if row not in figures]
    if missing:
        raise Failed(f"{RESULTS.name} has no figure of: {'; '.join(missing)}")
    return {name: figures[row] for name, (row, _) in INPUTS.items()}


# --- how figures are written --------------------------------------------------------------------------------------


def number(value):
    """As the results have it."""
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


def count(value):
    """Three digits; whole numbers below a thousand."""
    if value < 1000:
        return f"{math.ceil(value)}"
    scale, name = next((scale, name) for scale, name in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1, ""))
                       if value >= scale)
    return f"{value:,.0f}" if scale == 1 else f"{value / scale:.3g}{name}"


def size(value):
    scale, name = next((scale, name) for scale, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))
                       if value >= scale)
    return f"{value / scale:.3g} {name}"


def seconds(value):
    for scale, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if value >= 2 * scale:
            return f"{value / scale:.2g} {name}"
    return f"{value:.2g} s"


def table(*rows):
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


# --- the tables ---------------------------------------------------------------------------------------------------


def measured_table(inputs):
    return table(["name", "figure", "row of the results", "run"], *(
        [f"`{name}`", f"{number(inputs[name].value)} {unit}", row, inputs[name].date] for name, (row, unit) in INPUTS.items()))


def carries_table(v):
    return table(
        ["what", "carries", "by"],
        ["a core that does nothing else", f"{count(1e9 / v['cpu'])} calls/s", "10⁹ / `cpu`"],
        ["a worker, and so at most a shard", f"{count(v['one'])} calls/s", "`one`"],
        ["a process of two workers on two cores, with the broker on them", f"{count(v['two'])} calls/s", "`two`"],
        ["a GiB of memory", f"{count(2**30 / v['held'])} calls held", "2³⁰ / `held`"],
        ["a shard", f"{count(SHARD_CALLS)} calls held", "the bound of `run.max_calls_held`"],
        ["a restart of that process", f"{count(v['replay'])} calls/s", "`replay`"],
        ["one PostgreSQL, two connections", f"{count(1e6 / v['close'])} accounts/s at a close", "10⁶ / `close`"],
        ["the relay of a shard", f"{count(v['relay'])} rows/s", "`relay`"],
        ["a TB of Kafka's disk, one replica", f"{count(1e12 / v['call'])} calls", "10¹² / `call`"],
        ["a TB of PostgreSQL's disk", f"{count(1e12 / v['row'])} settlements", "10¹² / `row`"])


def load(v, rate, late_days):
    """What a sustained rate takes: {what: (text, formula)}."""
    a_day = rate * 86400
    held = (late_days + 1) * a_day
    workers = math.ceil(2 * rate / (v["two"] / 2))
    partitions = max(workers, math.ceil(2 * rate / v["one"]), math.ceil(held / SHARD_CALLS))
    memory = held * v["held"]
    machines = math.ceil(memory / MACHINE)
    kept = (late_days + 2) * a_day * v["call"] * REPLICAS
    return {
        "calls a day": (count(a_day), "`rate` × 86,400"),
        "cores for settled": (count(2 * rate * v["cpu"] / 1e9), "2 × `rate` × `cpu` / 10⁹"),
        "workers": (count(workers), "2 × `rate` / (`two` / 2)"),
        "partitions, at least": (count(partitions), "the largest of: workers; 2 × `rate` / `one`; calls held / 4 × 10⁹"),
        "calls held": (count(held), "(`late_days` + 1) × calls a day"),
        "memory for them": (size(memory), "calls held × `held`"),
        "machines of 256 GiB": (count(machines), "memory / 200 GiB"),
        "network to settled": (f"{size(rate * v['call'])}/s", "`rate` × `call`"),
        "network of the brokers": (f"{size((REPLICAS + 1) * rate * v['call'])}/s", "4 × `rate` × `call`: in, two replicas, out"),
        "Kafka's disk": (size(kept), "(`late_days` + 2) × calls a day × `call` × 3 replicas"),
        "replay at a restart of a machine, two workers": (seconds(held / machines / v["replay"]), "calls held / machines / `replay`"),
        "close of a day": (seconds(ACCOUNTS * v["close"] / 1e6), "accounts × `close` / 10⁶"),
        "PostgreSQL's growth a year": (size(365 * ACCOUNTS * v["row"]), "365 × accounts × `row`"),
        "PostgreSQL's accounts": (size(ACCOUNTS * v["account"]), "accounts × `account`"),
    }


LOADS = [(10_000, 7), (100_000, 7), (1_000_000, 7), (1_000_000, 1), (1_000_000, 0)]


def loads_table(v):
    loads = [load(v, rate, late_days) for rate, late_days in LOADS]
    return table(["`rate`, calls/s", *(f"{rate:,}" for rate, _ in LOADS), "by"],
                 ["`billing.late_days`", *(str(late_days) for _, late_days in LOADS), ""],
                 *([what, *(each[what][0] for each in loads), by] for what, (_, by) in loads[0].items()))


def tables(inputs):
    v = {name: figure.value for name, figure in inputs.items()}
    return {"measured": measured_table(inputs), "carries": carries_table(v), "loads": loads_table(v)}


def page_with(page, made):
    """The page with these tables between their marks."""
    for name, text in made.items():
        marks = rf"(<!-- {name}: [^\n]*-->\n)((?!<!--).)*(<!-- end -->)"
        page, found = re.subn(marks, lambda match, text=text: f"{match[1]}{text}\n{match[3]}", page, flags=re.DOTALL)
        if found != 1:
            raise Failed(f"{PAGE.name} has {found} places for the table {name!r}")
    return page


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    try:
        old = PAGE.read_text()
        new = page_with(old, tables(inputs_of(figures_of(RESULTS.read_text()))))
    except (Failed, OSError) as error:
        print(f"scaling.py: {error}", file=sys.stderr)
        return 1
    if options.check:
        print("the tables are those of the results" if new == old else
              f"{PAGE.name} has other figures than {RESULTS.name}: run tests/bench/scaling.py")
        return 0 if new == old else 1
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
