#!/usr/bin/env python3
"""Builds settled in every way and runs every test; the last line counts them: "N passed, N failed".

    tests/run.sh [--long] [--only REGEX] [--list]

--long        more seeds and larger workloads (tests see SETTLED_LONG=1)
--only REGEX  only tests and checks whose name has a match; a preset is built only when something in it has
--list        print the names and run nothing (needs configured builds: it makes them)

Every ctest test under every preset, every pytest test, every build and every check counts as one. A skipped test is
listed, and counts as failed when CI=true. Logs and JUnit files stay in build/test-results. Only root can run the part
on Debian 13, in a root directory of its own: for others it is skipped.

Two lists of steps run side by side. Tests on real services wait most of the time; what only computes has the processors
meanwhile, at a lower priority, so that it takes no time from a test that has a bound.
"""

import argparse
import collections
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
import xml.etree.ElementTree

import services

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "test-results"
VENV = ROOT / "build" / "venv"
CI = os.environ.get("CI") == "true"
JOBS = str(os.cpu_count() or 1)

# For what only computes. Linux shares the processors among sessions first, if it has the file, and then among processes.
LOW_PRIORITY = ["sh", "-c", '[ ! -w /proc/self/autogroup ] || echo 5 >/proc/self/autogroup; exec nice -n 5 "$@"', "sh"]

# Used in place of the name of a preset: a release with the compiler and the libraries of Debian 13.
DEBIAN13 = "debian13"

# In a release that is built by hand warnings are only warnings; here they are errors, as under every other preset.
STRICT = "-DSETTLED_WERROR=ON"

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # The libraries are not instrumented, so accesses by them alone cannot be judged.
    "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:second_deadlock_stack=1",
}


@dataclasses.dataclass
class Ctest:
    """Which labels run under a preset, and whether they need the services."""
    preset: str
    options: list
    services: bool = False


@dataclasses.dataclass
class Check:
    """A command that passes or fails as one, or ends with 77 if it cannot be run here; it needs its preset built first, and
    the virtual environment where it says so."""
    name: str
    command: list
    preset: str = None
    venv: bool = False


@dataclasses.dataclass
class Pytest:
    """Tests in Python: which (as arguments of pytest), the presets they need built, and whether they need the services.
    `environment` is set only for them; `suffix` distinguishes their results from those of the same tests elsewhere."""
    name: str
    paths: list
    presets: list
    services: bool = False
    environment: dict = dataclasses.field(default_factory=dict)
    suffix: str = ""


# Release is what is shipped: all of it runs there, on real services. The sanitizers look for what the same tests cannot
# see: memory under asan, where inputs are hostile; races under tsan, where threads are. Each list runs in this order.
ON_SERVICES = [
    Check("purity", ["tests/purity.py", "build/release"], "release"),
    Check("layout", ["tests/layout.py", "build/release"], "release"),
    Check("dead functions", ["tests/dead.py", "build/release"], "release"),
    Check("manual page", ["sh", "-c", "build/release/settled help --man >build/release/settled.1 && "
                          "groff -man -Tutf8 -ww -z build/release/settled.1 2>&1 | tee /dev/stderr | (! grep -q .)"],
          "release"),
    Ctest("release", ["-LE", "bench"], services=True),
    Pytest("pytest", ["--ignore", "tests/integration/faults"], ["release"], services=True),
    Pytest("faults", ["tests/integration/faults"], ["release", "faults"]),
    Ctest("tsan", ["-L", "unit|integration", "-LE", "pure"], services=True),
    # Generated days, drained and audited.
    Pytest("pytest debian13", ["tests/integration/test_audit.py::test_what_was_settled_is_equal"], [DEBIAN13],
           services=True, environment={"SETTLED_BINARY": str(ROOT / "build" / "debian13" / "settled-release")},
           suffix=f" [{DEBIAN13}]"),
    Check("soak, one minute", ["tests/soak/soak.py", "--minutes", "1"], "release"),
]
COMPUTED = [
    Check("clang-format", ["tests/format.sh"]),
    Check("shellcheck", ["sh", "-c", "shellcheck $(git ls-files --cached --others --exclude-standard '*.sh') .ci/run"]),
    Check("billing rules", ["tests/rules.py"]),
    Check("names", ["tests/names.py"]),
    Check("instructions", ["tests/bench/instructions.py"], "release"),
    Ctest(DEBIAN13, ["-L", "unit|sim", "-LE", "breakage"]),
    Check("clang-tidy", ["tests/tidy.sh", "build/clang"], "clang"),
    Ctest("asan", ["-LE", "integration|worlds|bench"]),
    # On the services that the other list has started.
    Check("mutants", ["tests/mutants/run.py"], venv=True),
    Check("recipes", ["tests/recipes/run.py"], venv=True),
    Check("coverage", ["tests/coverage.sh", str(VENV / "bin" / "gcovr")], venv=True),
]


@dataclasses.dataclass
class Result:
    name: str
    outcome: str  # passed, failed, skipped
    detail: str = ""


def chosen(listed, wanted):
    """What names the wanted tests on a command line: whole files where all of a file is wanted, for not every test can be
    named by its id."""
    files = {node.partition("::")[0] for node in wanted}
    whole = {file for file in files if all(node in wanted for node in listed if node.partition("::")[0] == file)}
    return [*sorted(whole), *(node for node in wanted if node.partition("::")[0] not in whole)]


class Run:
    def __init__(self, options):
        self.options = options
        self.results = []
        self.built = {}
        self.configured = set()
        self.locks = collections.defaultdict(threading.RLock)  # for what both lists need and only one may make
        self.ending = False
        self.environment = {**os.environ, **SANITIZERS, "PYTHONDONTWRITEBYTECODE": "1"}
        if options.long:
            self.environment["SETTLED_LONG"] = "1"
        self.owner = None

    # --- results ---

    def add(self, name, outcome, detail=""):
        if outcome == "skipped" and CI:
            outcome, detail = "failed", f"skipped, which is a failure under CI=true: {detail}"
        self.results.append(Result(name, outcome, detail))
        return outcome

    def wanted(self, name):
        return not self.options.only or re.search(self.options.only, name)

    def command(self, name, command, seconds=1800, more=None):
        """Runs one with its output in a log, and with `more` in its environment; says how long it took. Returns (status, log)."""
        if self.ending:
            raise services.Stopped
        if threading.current_thread() is not threading.main_thread():
            command = [*LOW_PRIORITY, *command]
        log = RESULTS / (re.sub(r"[^A-Za-z0-9]+", "-", name) + ".log")
        start = time.monotonic()
        with open(log, "wb") as out:
            try:
                status = services.run_to_end(command, timeout=seconds, cwd=ROOT,
                                             env={**self.environment, **(more or {})},
                                             stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            except subprocess.TimeoutExpired:
                out.write(f"\nended after {seconds} s\n".encode())
                status = 124
        said = {0: "ok    ", 77: "not run"}.get(status, "FAILED")
        print(f"{said} {name} ({time.monotonic() - start:.0f} s)", flush=True)
        return status, log

    def check(self, name, command, seconds=1800):
        status, log = self.command(name, command, seconds)
        self.add(name, {0: "passed", 77: "skipped"}.get(status, "failed"), services.tail(log, 60))
        return status == 0

    # --- builds ---

    def build(self, preset):
        """Configures and builds a preset once; its own result counts as a test."""
        with self.locks[preset]:
            if preset not in self.built:
                command = ["sh", "-ec",
                           f"cmake --preset {preset} {STRICT} && cmake --build --preset {preset} --parallel {JOBS}"]
                if preset == DEBIAN13:
                    command = ["tests/lib/debian13.sh"]
                self.built[preset] = self.check(f"build {preset}", command)
            return self.built[preset]

    def names_in(self, preset, selection):
        """The ctest names of a preset that a selection and --only leave, after configuring it."""
        here = "release" if preset == DEBIAN13 else preset  # which has the same tests
        with self.locks[here]:
            if here not in self.configured:
                done = subprocess.run(["cmake", "--preset", here, STRICT], cwd=ROOT, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, check=False)
                if done.returncode != 0:
                    return []
                self.configured.add(here)
        listed = subprocess.run(["ctest", "--test-dir", f"build/{here}", "-N", *selection], cwd=ROOT,
                                capture_output=True, text=True, check=False).stdout
        names = re.findall(r"^\s*Test\s+#\d+: (\S+)", listed, re.MULTILINE)
        return [name for name in names if self.wanted(f"{name} [{preset}]")]

    # --- kinds of tests ---

    def need_services(self):
        if self.owner.all:
            if all(service.running for service in self.owner.all):
                return
            raise services.ServiceError("a service has ended; its log is in build/test-results/services")
        start = time.monotonic()
        self.environment.update(services.start_asked(self.owner, kafka=1, registry=True, postgres=True))
        print(f"ok     services started ({time.monotonic() - start:.0f} s)", flush=True)

    def junit(self, path, suffix):
        """Adds the results of a JUnit file; returns their outcomes."""
        try:
            cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError):
            return []
        return [self.junit_case(case, suffix) for case in cases]

    def junit_case(self, case, suffix):
        name = case.get("name")
        if case.get("classname") not in (None, name):
            name = f"{case.get('classname')}::{name}"
        failed = [each for each in case if each.tag in ("failure", "error")]
        skipped = case.find("skipped")
        said = "".join(each.get("message", "") + "\n" + (each.text or "") for each in failed)
        said += case.findtext("system-out") or "" if failed else ""
        if failed:
            return self.add(name + suffix, "failed", "\n".join(said.strip().splitlines()[-60:]))
        if skipped is not None or case.get("status") in ("notrun", "disabled"):
            reason = skipped.get("message") if skipped is not None else case.get("status")
            return self.add(name + suffix, "skipped", reason or "")
        return self.add(name + suffix, "passed")

    def report(self, name, status, log, path, suffix, least=1):
        """Adds the results of a command that wrote a JUnit file; or its own failure, if the file does not show it."""
        outcomes = self.junit(path, suffix)
        if len(outcomes) < least or (status != 0 and "failed" not in outcomes):
            self.add(name, "failed", f"{len(outcomes)} tests ran, at least {least} expected\n{services.tail(log, 60)}")

    def refused(self, name, presets):
        """Whether this user cannot run what is built in this way; if so, says it."""
        if DEBIAN13 not in presets or os.geteuid() == 0:
            return False
        self.add(name, "skipped", "only root can make a root of Debian 13 and change into it: run tests/run.sh as root")
        return True

    def ctest(self, step):
        names = self.names_in(step.preset, step.options)
        if self.options.list:
            print("\n".join(f"{name} [{step.preset}]" for name in names))
            return
        if not names and self.options.only:
            return
        if self.refused(f"ctest {step.preset}", [step.preset]):
            return
        if not self.build(step.preset):
            self.add(f"ctest {step.preset}", "failed", "not run: the build failed")
            return
        if step.services:
            self.need_services()
        # Configured again since the names were read: a build may have found new files.
        report = RESULTS / f"ctest-{step.preset}.xml"
        report.unlink(missing_ok=True)
        selection = step.options
        if self.options.only:
            selection = selection + ["-R", "^(" + "|".join(map(re.escape, names)) + ")$"]
        runner = ["ctest", "--test-dir", f"build/{step.preset}", "--no-tests=error", "--output-junit", str(report)]
        if step.preset == DEBIAN13:
            runner = ["tests/lib/debian13.sh", "--ctest", str(report)]
        status, log = self.command(f"ctest {step.preset}", [
            *runner, "--parallel", JOBS, "--output-on-failure", "--timeout", "3600" if self.options.long else "300",
            *selection], seconds=7200 if self.options.long else 1800)
        self.report(f"ctest {step.preset}", status, log, report, f" [{step.preset}]")

    def pytest(self, step):
        if not self.make_venv():
            return
        pytest = [str(VENV / "bin" / "pytest"), "-c", "tests/pytest.ini", "--rootdir", "tests"]
        listed = subprocess.run([*pytest, "--collect-only", "-q", *step.paths], cwd=ROOT, env=self.environment,
                                capture_output=True, text=True, check=False)
        nodes = [line for line in listed.stdout.splitlines() if "::" in line and not line.startswith("ERROR")]
        if listed.returncode != 0 and self.wanted(step.name):
            self.add(f"{step.name} collection", "failed", (listed.stdout + listed.stderr)[-3000:])
        listed_nodes, nodes = nodes, [node for node in nodes if self.wanted(node + step.suffix)]
        if self.options.list:
            print("\n".join(node + step.suffix for node in nodes))
            return
        if not nodes or self.refused(step.name, step.presets):
            return
        if not all([self.build(preset) for preset in step.presets]):
            self.add(step.name, "failed", "not run: the build failed")
            return
        if step.services:
            self.need_services()
        report = RESULTS / f"{step.name}.xml"
        report.unlink(missing_ok=True)
        # The tests of a file stay in one process, as they share what they set up. There are more processes than cores,
        # because they wait a lot.
        beside = ["--numprocesses", str(int(JOBS) + 1), "--dist", "loadfile"]
        asked = step.paths if nodes == listed_nodes else [f"tests/{each}" for each in chosen(listed_nodes, nodes)]
        status, log = self.command(step.name, [*pytest, *beside, "--junitxml", str(report), *asked],
                                   seconds=7200 if self.options.long else 1800, more=step.environment)
        self.report(step.name, status, log, report, step.suffix, least=len(nodes))

    def make_venv(self):
        with self.locks["venv"]:
            return self.venv_made()

    def venv_made(self):
        """The virtual environment, made anew when the requirements or the interpreter have changed."""
        wanted = hashlib.sha256((ROOT / "tests" / "requirements.txt").read_bytes() + sys.version.encode()).hexdigest()
        stamp = VENV / "made-for"
        if stamp.exists() and stamp.read_text() == wanted:
            return True
        shutil.rmtree(VENV, ignore_errors=True)
        pip = f"{VENV}/bin/pip install -q --disable-pip-version-check --retries 5 -r tests/requirements.txt"
        if not self.check("virtual environment", ["sh", "-ec", f"{sys.executable} -m venv {VENV}; {pip}"]):
            return False
        stamp.write_text(wanted)
        return True

    # --- all of it ---

    def one(self, step):
        if isinstance(step, Ctest):
            self.ctest(step)
        elif isinstance(step, Pytest):
            self.pytest(step)
        elif not self.wanted(step.name):
            return
        elif self.options.list:
            print(step.name)
        elif step.preset and not self.build(step.preset):
            self.add(step.name, "failed", "not run: the build failed")
        elif step.venv and not self.make_venv():
            self.add(step.name, "failed", "not run: there is no virtual environment")
        else:
            self.check(step.name, step.command)

    def everything(self):
        shutil.rmtree(RESULTS, ignore_errors=True)
        RESULTS.mkdir(parents=True)
        with services.Services() as self.owner:
            try:
                beside = threading.Thread(target=self.steps, args=[COMPUTED], daemon=True)
                beside.start()
                if self.options.list:
                    beside.join()
                self.steps(ON_SERVICES)
                beside.join()
            finally:
                self.ending = True  # a signal came: the other list begins nothing more
                self.owner.keep_logs(RESULTS / "services")

    def steps(self, steps):
        for step in steps:
            name = f"ctest {step.preset}" if isinstance(step, Ctest) else step.name
            try:
                self.one(step)
            except services.ServiceError as error:
                self.add(f"services for {name}", "failed", str(error))
            except services.Stopped:
                if not self.ending:
                    raise
                return
            except Exception:  # it would end the thread, and nobody would count it
                self.add(name, "failed", traceback.format_exc())

    def summary(self):
        failed = [each for each in self.results if each.outcome == "failed"]
        skipped = [each for each in self.results if each.outcome == "skipped"]
        for each in failed:
            print(f"\n=== {each.name}\n{each.detail}")
        print()
        for each in skipped:
            print(f"skipped: {each.name}: {each.detail}")
        for each in failed:
            print(f"failed: {each.name}")
        passed = len(self.results) - len(failed) - len(skipped)
        print(f"{passed} passed, {len(failed)} failed", flush=True)
        return 1 if failed or passed == 0 else 0


def main():
    parser = argparse.ArgumentParser(prog="tests/run.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", metavar="REGEX")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    services.adopt_orphans()
    services.stop_on_signals()
    run = Run(options)
    try:
        run.everything()
        return 0 if options.list else run.summary()
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    finally:
        services.reap_all()


if __name__ == "__main__":
    sys.exit(main())
