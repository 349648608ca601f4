#!/usr/bin/env python3
"""How fast settled takes records in, against librdkafka alone on the same topic, broker and machine.

    python3 tests/bench/ingest.py [--records N] [--rounds N] [--workers 1,2] [--settled PATH]

Needs the release build (which holds fill and bare_consumer) and what tests/lib/services.py needs. One topic of 8
partitions with lz4 is filled once; then, in each round and for each number of workers, as many bare consumers and
settled take turns on it, so that a slow moment of the machine hits both. settled decodes, judges, deduplicates, aggregates and
commits; the bare consumer drops what it gets. The table shows each number of workers' median.

Both are timed from the first record to the last: the bare consumer by itself, settled by the line it logs at the end of
`run --drain` (records=N seconds=S). The column "whole s" checks that line from outside: it is the time of the process
from start to end, with joining the group, committing and publishing. The CPU time is without that of a drain of empty
topics.
"""

import argparse
import json
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import services  # noqa: E402

PARTITIONS = 8
SCHEMAS = ["CallRecord", "PackagePurchase", "AccountCredit", "Settlement", "AccountStatusChanged", "DayClosed", "Reject"]
CONFIG = """\
kafka:    {{brokers: "{brokers}", group: "{name}"}}
topics:   {{calls: {calls}, settlements: {name}-settlements, status: {name}-status, day_closes: {name}-closes,
           rejects: {name}-rejects}}
schemas:  {{directory: "{schemas}"}}
postgres: {{dsn: "{dsn}"}}
pricing:  {{book: "{book}"}}
billing:  {{first_day: {first_day}, timestamps: log-append}}
run:      {{workers: {workers}}}
http:     {{listen: ""}}
"""


class Failed(Exception):
    """A measured program did not do its work."""


class Bench:
    def __init__(self, options, kafka, postgres, folder):
        self.options = options
        self.kafka = kafka
        self.postgres = postgres
        self.folder = folder
        self.runs = 0
        self.programs = ROOT / "build" / "release" / "tests" / "bench"
        self.schemas = folder / "schemas"
        self.schemas.mkdir()
        for number, name in enumerate(SCHEMAS, 1):
            (self.schemas / f"{number}.avsc").write_bytes((ROOT / "schemas" / "avro" / f"{name}.avsc").read_bytes())

    def prepare(self):
        for topic in ("call-records", "no-records", "package-purchases", "account-credits"):
            self.kafka.create_topic(topic, PARTITIONS, message_timestamp_type="LogAppendTime", retention_ms=-1)
        filled = self.measured([self.programs / "fill", self.kafka.brokers, "call-records", str(self.options.records),
                                str(self.options.accounts), "1"])
        print(f"filled {filled['records']:,} records at {filled['per_second']:,} a second", flush=True)

    @staticmethod
    def measured(command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{pathlib.Path(command[0]).name} ended with status {done.returncode}: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def bare(self, instances):
        got = self.measured([self.programs / "bare_consumer", self.kafka.brokers, "call-records", str(instances)])
        self.expect(got["records"], "the bare consumer")
        return got["records"] / got["seconds"], got["cpu_seconds"] / got["records"]

    def expect(self, records, who):
        if records != self.options.records:
            raise Failed(f"{who} took {records} records of {self.options.records}")

    def drain(self, workers, calls):
        """One `settled run --drain` in a database, group and output topics of its own."""
        self.runs += 1
        name = f"ingest_{self.runs}"
        for output in ("settlements", "status", "closes", "rejects"):
            self.kafka.create_topic(f"{name}-{output}", PARTITIONS)
        self.postgres.sql(f"CREATE DATABASE {name}")
        config = self.folder / f"{name}.yaml"
        config.write_text(CONFIG.format(
            brokers=self.kafka.brokers, name=name, calls=calls, schemas=self.schemas, dsn=self.postgres.dsn_of(name),
            book=ROOT / "pricing" / "pricebooks" / "apcas.yaml", workers=workers,
            # Today in Asia/Shanghai, so that no day is closed in between, because only reading is measured.
            first_day=time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))))
        self.settled("migrate", config)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        log = self.settled("run", config, "--drain")
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
        said = re.findall(r"records=(\d+) seconds=([\d.]+)", log)
        if not said:
            raise Failed("settled's log has no line with records=N seconds=S:\n" + log[-2000:])
        return {"records": int(said[-1][0]), "seconds": float(said[-1][1]), "wall": wall,
                "accepted": int(self.postgres.sql("SELECT coalesce(sum(accepted), 0) FROM settled.shard_logs", name)),
                "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}

    def settled(self, verb, config, *arguments):
        done = subprocess.run([self.options.settled, verb, "-c", config, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"settled {verb} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stderr

    def round(self, workers, idle):
        bare_rate, bare_cpu = self.bare(workers)
        took = self.drain(workers, "call-records")
        self.expect(took["records"], "settled")
        self.expect(took["accepted"], "settled's database")
        return {"bare": bare_rate, "settled": took["records"] / took["seconds"],
                "wall": took["wall"], "bare_ns": bare_cpu * 1e9,
                "settled_ns": (took["cpu"] - idle["cpu"]) / took["records"] * 1e9}

    def run(self):
        self.prepare()
        counts = [int(each) for each in self.options.workers.split(",")]
        idle = {workers: self.drain(workers, "no-records") for workers in counts}
        rounds = {workers: [] for workers in counts}
        for _ in range(self.options.rounds):
            for workers in counts:
                rounds[workers].append(self.round(workers, idle[workers]))
        print(f"{'workers':>7} {'bare/s':>11} {'settled/s':>11} {'whole s':>8} {'ratio':>6} {'bare ns CPU':>12} "
              f"{'settled ns CPU':>15} {'ratio':>6}")
        for workers, each in rounds.items():
            median = {key: statistics.median(one[key] for one in each) for key in each[0]}
            rate = statistics.median(one["settled"] / one["bare"] for one in each)
            cpu = statistics.median(one["settled_ns"] / one["bare_ns"] for one in each)
            print(f"{workers:>7} {median['bare']:>11,.0f} {median['settled']:>11,.0f} {median['wall']:>8.1f} {rate:>6.2f} "
                  f"{median['bare_ns']:>12.0f} {median['settled_ns']:>15.0f} {cpu:>6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=8_000_000)
    parser.add_argument("--accounts", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--settled", default=str(ROOT / "build" / "release" / "settled"))
    options = parser.parse_args()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            Bench(options, owner.kafka(jvm=("-Xmx1g",)), owner.postgres(), owner.folder).run()
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    except (services.ServiceError, Failed, OSError) as error:
        print(f"ingest.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
