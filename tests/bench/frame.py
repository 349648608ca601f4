"""What the benchmarks share: rows and their goals, rounds, services, deployments, drains, the table, and where results
are kept.

A script of this folder has `ROWS`, the rows that it measures, and `measure(bench)`, a generator that yields the `Result`
of each wanted row as soon as it is there. It takes turns between the baseline and settled within each round, so that a
slow moment of the machine hits both. bench.py runs all scripts by `main`, and each script runs itself by `script`.

Needs the release build and the Python packages of tests/requirements.txt (build/venv, which tests/run.sh makes).
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import confluent_kafka  # noqa: E402 (the path is set above)
import services  # noqa: E402
from deployment import SCHEMAS, ZONE, Deployment  # noqa: E402

PROGRAMS = ROOT / "build" / "release" / "tests" / "bench"
RESULTS = ROOT / "tests" / "bench" / "RESULTS.md"
ROUNDS = 5
TOOL_SECONDS = 900  # after which a measured program is taken to hang
SEEN_SECONDS = 90  # after which a record is taken to be lost
# As the tests have it, but with the compiler that a broker in use has.
JVM = ("-Xmx1g", "-XX:+UseSerialGC")
HEAD = """\
# Results of the benchmarks

`tests/bench/bench.py --record` writes this page, one section a run, the newest first; nothing here is edited by hand.
Each figure is the median of the rounds, in which baseline and settled take turns. `measured` is what the goal is about,
with the lowest and the highest round in brackets: the ratio of settled to the baseline, or the difference, or the figure
itself where there is no baseline. PostgreSQL runs with fsync off, on the machine of broker and program.
"""


class Failed(Exception):
    """A measured program did not do its work."""


# --- rows ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Goal:
    """A bound of what a row measures: `of` is the ratio of settled to the baseline, the difference of the two, or
    settled's own value."""
    of: str
    least: bool
    bound: float

    def met(self, figure):
        return figure >= self.bound if self.least else figure <= self.bound

    def text(self, unit):
        unit = "" if self.of == "ratio" else f" {unit}"
        more = " more" if self.of == "difference" else ""
        return f"{'≥' if self.least else '≤'} {self.bound:g}{unit}{more}"


def ratio_at_least(bound):
    return Goal("ratio", True, bound)


def ratio_at_most(bound):
    return Goal("ratio", False, bound)


def difference_at_most(bound):
    return Goal("difference", False, bound)


def value_at_most(bound):
    return Goal("value", False, bound)


@dataclasses.dataclass(frozen=True)
class Row:
    """`against`: what the baseline is; without it, settled's figure stands alone."""
    name: str
    unit: str
    against: str = ""
    goal: Goal = None

    @property
    def of(self):
        return self.goal.of if self.goal else "ratio" if self.against else "value"

    def against_last(self):
        """The same of two programs: no worse by more than a tenth. More is better of what is counted a second, else less."""
        goal = ratio_at_least(0.9) if self.unit.endswith("/s") else ratio_at_most(1.1)
        return Row(f"{self.name}, against --last", self.unit, "the last one", goal)

    def result(self, settled, baseline=()):
        """From settled's figure of each round, and the baseline's."""
        if self.against and len(baseline) != len(settled):
            raise Failed(f"{self.name}: {len(baseline)} rounds of the baseline and {len(settled)} of settled")
        return Result(self, list(settled), list(baseline))

    def missing(self, why):
        """For what this machine or these options cannot measure."""
        return Result(self, [], [], why)


@dataclasses.dataclass(frozen=True)
class Result:
    row: Row
    settled: list
    baseline: list
    note: str = ""

    @property
    def figures(self):
        """What the row measures, round by round."""
        if self.row.of == "ratio":
            return [mine / other for mine, other in zip(self.settled, self.baseline)]
        if self.row.of == "difference":
            return [mine - other for mine, other in zip(self.settled, self.baseline)]
        return self.settled

    @property
    def met(self):
        """None: there is no goal, or no figure."""
        return self.row.goal.met(statistics.median(self.figures)) if self.row.goal and self.settled else None

    def cells(self):
        row = self.row
        goal = row.goal.text(row.unit) if row.goal else ""
        if not self.settled:
            return [row.name, row.against, "", "", row.unit, self.note, "", goal, ""]
        figure, low, high = (number(each) for each in (statistics.median(self.figures), min(self.figures), max(self.figures)))
        return [row.name, row.against, number(statistics.median(self.baseline)) if self.baseline else "",
                number(statistics.median(self.settled)), row.unit, f"{figure} ({low}–{high})",
                str(len(self.settled)), goal, {True: "yes", False: "no", None: ""}[self.met]]

    def as_json(self):
        row = self.row
        found = {"row": row.name, "unit": row.unit, "against": row.against, "baseline": self.baseline,
                 "settled": self.settled, "measured": row.of, "note": self.note,
                 "goal": row.goal.text(row.unit) if row.goal else None, "met": self.met}
        if self.settled:
            found.update(median=statistics.median(self.figures), lowest=min(self.figures), highest=max(self.figures))
        return found


COLUMNS = ["what", "against", "baseline", "settled", "unit", "measured", "rounds", "goal", "met"]


def number(value):
    """With three digits that say something, or all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2}f}"


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


# --- what measures ------------------------------------------------------------------------------------------------


class Listener:
    """Notes when a read_committed consumer sees the newest record of each key in some partitions of a topic, as a gateway
    would see it."""

    def __init__(self, brokers, topic, partitions):
        self.topic, self.seen = topic, {}
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": brokers, "group.id": f"{topic}-listener", "enable.auto.commit": False,
            "isolation.level": "read_committed", "fetch.wait.max.ms": 500, "auto.offset.reset": "earliest"})
        self.consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in partitions])
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        # One at a time: `consume` of many waits for as many, and would see the first of them late.
        while not self.ended.is_set():
            message = self.consumer.poll(0.1)
            if message and not message.error():
                self.seen[message.key().decode()] = time.monotonic()
        self.consumer.close()

    def await_key(self, key, seconds=SEEN_SECONDS):
        """Until a record of the key is seen; returns when that was."""
        deadline = time.monotonic() + seconds
        while key not in self.seen:
            if time.monotonic() > deadline:
                raise Failed(f"no record of {key} in {self.topic} within {seconds} s")
            time.sleep(0.005)
        return self.seen[key]

    def time_of(self, key, begin):
        """ms from before `begin` is called until a record of the key is seen."""
        self.seen.pop(key, None)
        start = time.monotonic()
        begin()
        return (self.await_key(key) - start) * 1000

    def close(self):
        self.ended.set()
        self.thread.join()


class Figures:
    """What the rounds give, by row: figures of the baseline and of each program."""

    def __init__(self, bench):
        self.bench, self.of = bench, {}

    def add(self, who, figures):
        """`who`: baseline, or a program's name in `Bench.programs`; `figures`: {row: figure of this round}."""
        for row, figure in figures.items():
            self.of.setdefault(row, {}).setdefault(who, []).append(figure)

    def results(self):
        """Of the rows that are wanted; with --last each of them also against the figures of that program."""
        for row, by in self.of.items():
            if self.bench.wants(row):
                yield row.result(by["settled"], by.get("baseline", ()))
                if "last" in by:
                    yield row.against_last().result(by["settled"], by["last"])


@dataclasses.dataclass(frozen=True)
class Drain:
    """What one `settled run --drain` did: `seconds` from the first record to the last by its own log, `wall` and `cpu` of
    the whole process, `accepted` by its database."""
    records: int
    accepted: int
    seconds: float
    wall: float
    cpu: float

    def expect(self, records):
        """That it took all of so many distinct calls."""
        if (self.records, self.accepted) != (records, records):
            raise Failed(f"settled took {self.records} records and accepted {self.accepted} of {records}")


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_of(pid):
    """CPU seconds of a process and of all that it has started."""
    # In this order: what ends meanwhile is counted with its parent, which has the time of children that have ended.
    below = sum(cpu_of(child) for child in services.children(pid))
    return below + sum(map(int, services.stat_of(pid)[11:15])) / os.sysconf("SC_CLK_TCK")


def today():
    """In the time zone of billing."""
    return datetime.datetime.now(ZONE).date()


class Bench:
    """The options, and what a measurement needs; services are started when the first row asks for them."""

    def __init__(self, options, owner):
        self.options, self.owner = options, owner
        self.kafka = self.postgres = None
        self.databases = self.seed = 0
        self.inputs = {}
        self.stack = contextlib.ExitStack()

    def size(self, full, quick):
        """How much to measure with."""
        return quick if self.options.quick else full

    def rounds(self, full=ROUNDS):
        """The numbers of the rounds, and says on a terminal where it is."""
        count = self.options.rounds or self.size(full, 1)
        for turn in range(count):
            self.say(f"round {turn + 1} of {count}")
            yield turn

    @staticmethod
    def say(what):
        if sys.stderr.isatty():
            print(f"  {what}", file=sys.stderr, flush=True)

    @property
    def programs(self):
        """What is measured, and what it is compared with: {"settled": path, "last": path, if one was given}."""
        last = {"last": self.options.last} if self.options.last else {}
        return {"settled": self.options.settled, **last}

    def wants(self, *rows):
        return any(row in self.options.rows for row in rows)

    # --- programs ---

    def built_with(self, name):
        """The program of this folder that each measured program was built with: {"settled": path, ...}. The last one may
        be without its build."""
        found = {who: pathlib.Path(program).resolve().parent / "tests" / "bench" / name for who, program in self.programs.items()}
        if not found["settled"].exists():
            raise Failed(f"{found['settled']} is not built")
        return {who: path for who, path in found.items() if path.exists()}

    @staticmethod
    def tool(name, *arguments, environment=None):
        """Runs a program of this folder, by default of this release build; what it prints as JSON."""
        done = subprocess.run([PROGRAMS / name, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, timeout=TOOL_SECONDS, env={**os.environ, **(environment or {})})
        if done.returncode != 0:
            raise Failed(f"{pathlib.Path(name).name} ended with status {done.returncode}: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def start_services(self):
        if not self.kafka:
            kafka, postgres = self.owner.kafka(start=False, jvm=JVM), self.owner.postgres(start=False)
            self.owner.start()
            self.kafka, self.postgres = kafka, postgres

    @contextlib.contextmanager
    def deployment(self, program=None, **options):
        """One of a program, of the measured one by default, with a database of its own; nothing of it stays."""
        self.start_services()
        self.databases += 1
        database = f"bench_{self.databases}"
        self.postgres.sql(f"CREATE DATABASE {database}")
        made = Deployment(program or self.options.settled, self.kafka.brokers, self.postgres.dsn_of(database),
                          self.owner.folder, **{"first_day": str(today()), **options})
        try:
            yield made
        finally:
            made.close()
            made.delete_topics(made.own_topics)
            self.postgres.sql(f"DROP DATABASE {database} WITH (FORCE)")

    def calls(self, records, accounts, partitions):
        """Topics with so many calls of today that are made once for all rows: `inputs_of` of a deployment."""
        made = self.inputs.get((records, accounts, partitions))
        if not made:
            self.say(f"filling a topic with {records:,} calls")
            made = self.stack.enter_context(self.deployment(partitions=partitions, timestamps="log-append"))
            self.fill(made, records, accounts)
            self.inputs[records, accounts, partitions] = made
        return made

    def fill(self, deployment, records, accounts, per_second=0):
        """Sends so many calls with ids of their own, as fast as the broker takes them or at a rate."""
        self.seed += 1
        filled = self.tool("fill", deployment.brokers, deployment.topics["calls"], records, accounts,
                           SCHEMAS["CallRecord"], self.seed, per_second)
        if filled["records"] != records:
            raise Failed(f"fill made {filled['records']} records of {records}")
        return filled

    @staticmethod
    def drain(deployment, *arguments):
        cpu, start = children_cpu(), time.monotonic()
        process = deployment.start("--drain", *arguments)
        status = process.wait(TOOL_SECONDS)
        wall, cpu = time.monotonic() - start, children_cpu() - cpu
        said = re.findall(r"records=(\d+) seconds=([\d.]+)", process.log)
        if status != 0 or not said:
            raise Failed(f"settled run --drain ended with status {status}:\n{process.log[-3000:]}")
        accepted = deployment.sql("select coalesce(sum(accepted), 0)::bigint from settled.shard_logs")[0][0]
        return Drain(int(said[-1][0]), accepted, float(said[-1][1]), wall, cpu)


# --- what was measured where --------------------------------------------------------------------------------------


def output_of(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()


def field_of(file, name):
    found = re.search(rf"^{name}\s*:\s*(.*)$", pathlib.Path(file).read_text(), re.MULTILINE)
    return found.group(1) if found else "unknown"


def environment(settled):
    """The machine and the versions, as JSON has them and as one line."""
    versions = output_of(settled, "version").splitlines()
    broker = [each.group(1) for each in (re.fullmatch(r"kafka-clients-([\d.]+)\.jar", jar.name)
                                         for jar in services.kafka_jars().iterdir()) if each]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} × {field_of('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(field_of('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "load": f"{os.getloadavg()[0]:.2f} when it began",
        "settled": versions[0].removeprefix("settled "),
        "librdkafka": versions[1].removeprefix("librdkafka "),
        "PostgreSQL": output_of(services.postgres_bin() / "postgres", "--version").split()[2],
        "Kafka": broker[0] if broker else "unknown",
        "Linux": platform.release(),
    }


# --- the table ----------------------------------------------------------------------------------------------------


def as_lines(results):
    """The table for a terminal."""
    rows = [COLUMNS, *(result.cells() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]


def as_markdown(results):
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(result.cells() for result in results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


class Report:
    """What was found so far; written after every result, so that an interrupted run keeps it."""

    def __init__(self, options):
        self.options, self.results, self.errors, self.complete = options, [], [], False
        self.environment = environment(options.settled)
        self.before = RESULTS.read_text().removeprefix(HEAD) if options.record and RESULTS.exists() else ""

    def add(self, result):
        self.results.append(result)
        print(f"{result.row.name}: {result.cells()[5]}", flush=True)
        self.keep()

    def fail(self, module, error):
        self.errors.append(f"{module}: {error}")
        print(f"{module} failed: {error}", file=sys.stderr, flush=True)
        self.keep()

    def line(self):
        """Where and what, in one line."""
        return "; ".join(value if key in ("machine", "date") else f"{key} {value}" for key, value in self.environment.items())

    def keep(self):
        if self.options.json:
            self.options.json.write_text(json.dumps({
                "environment": self.environment, "complete": self.complete, "quick": self.options.quick,
                "errors": self.errors, "rows": [result.as_json() for result in self.results]}, indent=1) + "\n")
        if self.options.record:
            RESULTS.write_text(HEAD + self.section() + self.before)

    def section(self):
        failed = "".join(f"\nNot measured: {error.splitlines()[0]}\n" for error in self.errors)
        ended = "" if self.complete else "\nThis run was ended before all rows were measured.\n"
        return f"\n## {self.environment['date']}\n\n{self.line()}\n{ended}{failed}\n{as_markdown(self.results)}"

    def show(self):
        print("\n" + "\n".join(as_lines(self.results)) + f"\n\n{self.line()}", flush=True)


# --- the command --------------------------------------------------------------------------------------------------


def parse(about, rows, arguments=None):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="REGEX", default="", help="the rows whose names match")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and measure nothing")
    parser.add_argument("--quick", action="store_true", help="few records and one round: shows only that it works")
    parser.add_argument("--long", action="store_true", help="also what takes longer and needs more memory")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"of each row; {ROUNDS} by default, for some rows less")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures of all rounds there")
    parser.add_argument("--record", action="store_true", help="add the results to tests/bench/RESULTS.md")
    parser.add_argument("--settled", default=str(ROOT / "build" / "release" / "settled"), metavar="PATH",
                        help="the program that is measured")
    parser.add_argument("--last", metavar="PATH", help="another one, that of the last release for example: where a row "
                                                       "allows, it takes turns with the first")
    options = parser.parse_args(arguments)
    if options.record and options.quick:
        parser.error("--quick measures nothing that is worth recording")
    options.rows = [row for row in rows if re.search(options.only, row.name)]
    if not options.rows:
        parser.error(f"no row has a name that matches {options.only!r}: --list shows them")
    return options


def measure(bench, modules, report):
    """Measures the scripts that have a wanted row; an error of one does not keep the others from being measured."""
    for module in modules:
        if not bench.wants(*module.ROWS):
            continue
        try:
            for result in module.measure(bench):
                report.add(result)
        except (Failed, AssertionError, services.ServiceError, OSError, subprocess.SubprocessError,
                confluent_kafka.KafkaException) as error:
            report.fail(module.__name__, error)


def run(options, modules, owner):
    report = Report(options)
    print(report.line(), flush=True)
    try:
        bench = Bench(options, owner)
        with bench.stack:
            measure(bench, modules, report)
        report.complete = True
        report.keep()
    finally:
        report.show()
    return 1 if report.errors else 0


def main(about, modules):
    options = parse(about, [row for module in modules for row in module.ROWS])
    if options.list:
        print("\n".join(row.name for row in options.rows))
        return 0
    services.adopt_orphans()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            return run(options, modules, owner)
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    except (services.ServiceError, OSError, subprocess.SubprocessError) as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 1
    finally:
        services.reap_all()


def script(about, rows, measured):
    """Of a script that was started by itself."""
    name = pathlib.Path(sys.argv[0]).stem
    return main(about, [types.SimpleNamespace(__name__=name, ROWS=rows, measure=measured)])
