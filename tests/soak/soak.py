#!/usr/bin/env python3
"""`settled run` under a steady load, for as long as you ask: does it leak memory, descriptors or threads, or fall
behind?

    soak.py [--minutes N] [--rate R] [--bin PATH]

Starts services of its own. The memory that the fold holds (settled_fold_memory_bytes) is subtracted from the resident
memory; the rest must not grow after the first fifth of the time. It ends with the figures, and with status 1 if a bound
was broken.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

import services

GROWTH = 16 << 20  # bytes of growth without the fold's memory, from the first fifth to the last
LAG_SECONDS = 5


class Soak:
    def __init__(self, options, folder, kafka, postgres, registry):
        self.options, self.folder = options, folder
        first_day = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=8, days=-3)).date()
        postgres.sql("CREATE DATABASE soak")
        self.config = folder / "settled.yaml"
        self.config.write_text(json.dumps({
            "kafka": {"brokers": kafka.brokers, "group": "soak"}, "schemas": {"registry": registry.url},
            "postgres": {"dsn": postgres.dsn_of("soak")},
            "pricing": {"book": str(ROOT / "pricing" / "pricebooks" / "apcas.yaml")},
            "billing": {"first_day": str(first_day), "grace": "1m", "timestamps": "log-append"},
            "run": {"workers": 2}, "http": {"listen": "127.0.0.1:0"}}))
        self.settled("migrate")
        self.settled("topics", "apply", "--partitions", "8")
        self.settled("schemas", "register")

    def settled(self, *arguments):
        done = subprocess.run([self.options.bin, *arguments, "-c", self.config], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise SystemExit(f"settled {arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")

    def start(self):
        self.log = open(self.folder / "log", "w+")
        self.daemon = subprocess.Popen([self.options.bin, "run", "-c", self.config], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=self.log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(r"http listens.* port=(\d+)", (self.folder / "log").read_text())
            if found:
                self.port = int(found.group(1))
                return
            time.sleep(0.1)
        raise SystemExit("settled did not start:\n" + (self.folder / "log").read_text())

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    @staticmethod
    def total(text, name):
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))

    def sample(self):
        status = pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text()
        text = self.metrics()
        lag = [float(each) for each in re.findall(r"^settled_log_lag_seconds(?:\{.*\})? (\S+)$", text, re.MULTILINE)]
        return {"rss": int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) << 10,
                "threads": int(re.search(r"Threads:\s+(\d+)", status).group(1)),
                "fds": len(os.listdir(f"/proc/{self.daemon.pid}/fd")),
                "held": self.total(text, "settled_fold_memory_bytes"), "lag": max(lag, default=0),
                "records": self.total(text, "settled_records_total")}

    def load(self, seed, seconds):
        """New records of every kind at a steady rate, some late, broken or sent twice."""
        return subprocess.Popen(
            [self.options.bin, "generate", "-c", self.config, "--seed", str(seed), "--accounts", "2000",
             "--calls-per-day", str(self.options.rate * seconds), "--duplicates", "20", "--broken", "0.5",
             "--rate", str(self.options.rate)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)

    def run(self):
        self.start()
        samples, end, seed, load = [], time.monotonic() + self.options.minutes * 60, 0, None
        try:
            while time.monotonic() < end:
                if load is None or load.poll() is not None:
                    if load and load.returncode != 0:
                        raise SystemExit("generate: " + load.stderr.read().decode()[-2000:])
                    seed += 1
                    load = self.load(seed, 20)
                time.sleep(max(1, self.options.minutes / 6))
                if self.daemon.poll() is not None:
                    raise SystemExit("settled ended:\n" + (self.folder / "log").read_text()[-4000:])
                samples.append(self.sample())
        finally:
            if load and load.poll() is None:
                load.kill()
                load.wait()
            if self.daemon.poll() is None:
                self.daemon.terminate()
                self.daemon.wait(30)
        return self.judge(samples)

    def judge(self, samples):
        fifth = max(1, len(samples) // 5)
        early, late = samples[fifth:2 * fifth] or samples[:1], samples[-fifth:]
        print(f"{'':>10} {'early':>14} {'late':>14}   of {len(samples)} samples in {self.options.minutes:g} minutes")
        broken = []
        for name in ("rss", "held", "threads", "fds", "lag", "records"):
            print(f"{name:>10} {statistics.median(s[name] for s in early):>14,.0f} "
                  f"{statistics.median(s[name] for s in late):>14,.0f}")
        rest = [statistics.median(s["rss"] - s["held"] for s in part) for part in (early, late)]
        print(f"{'rss - held':>10} {rest[0]:>14,.0f} {rest[1]:>14,.0f}")
        if rest[1] - rest[0] > GROWTH:
            broken.append(f"memory that is not held on purpose grew by {rest[1] - rest[0]:,.0f} bytes")
        for name in ("threads", "fds"):
            if statistics.median(s[name] for s in late) > statistics.median(s[name] for s in early) + 2:
                broken.append(f"{name} grew")
        if statistics.median(s["lag"] for s in late) > LAG_SECONDS:
            broken.append(f"it is {late[-1]['lag']:.0f} s behind")
        if self.daemon.returncode != 0:
            broken.append(f"it ended with {self.daemon.returncode} after SIGTERM")
        for each in broken:
            print(f"broken: {each}")
        return 1 if broken else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=1000, help="records a second")
    parser.add_argument("--bin", default=str(ROOT / "build" / "release" / "settled"))
    options = parser.parse_args()
    services.stop_on_signals()
    with services.Services() as started, tempfile.TemporaryDirectory(prefix="settled-soak-") as folder:
        return Soak(options, pathlib.Path(folder), started.kafka(), started.postgres(), started.registry()).run()


if __name__ == "__main__":
    sys.exit(main())
