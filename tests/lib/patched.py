"""A copy of the sources to which patches are applied: small wrong changes (tests/mutants), and the recipes of
consumer/HACKING.md (tests/recipes)."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import services

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = str(ROOT / "build" / "venv" / "bin" / "python")
CASE_SECONDS, LONG_CASE_SECONDS = 60, 240
ON_THE_PROGRAM = ("world", "pytest")  # no programs of their own
# Without optimisation and debug information, because compiling and linking take most of the time.
CONFIGURE = ["cmake", "-G", "Ninja", "-B", "build", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_C_FLAGS=-O0"]


class Broken(Exception):
    """What is wrong with a patch itself, or with the tree without it."""


def files_of(patch):
    """The files that a patch changes or makes, in its order."""
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)


def tests_in(line):
    """[(program, case)] of a line "PROGRAM:CASE ..."; None where it is no such line."""
    tests = [tuple(each.split(":", 1)) for each in line.split()]
    return tests if all(len(each) == 2 for each in tests) else None


def targets_of(tests):
    """What has to be built for them."""
    return {"settled" if program in ON_THE_PROGRAM else program for program, _ in tests}


def services_needed(tests):
    """What start_asked takes, for the services that these tests need and no variable names a running one of."""
    programs = [program for program, _ in tests]

    def lacks(variable, *prefixes):
        needed = any(program.startswith(prefixes) or program in ON_THE_PROGRAM for program in programs)
        return needed and not os.environ.get(variable)

    return {"kafka": int(lacks("SETTLED_TEST_BROKERS", "integration_relay")),
            "registry": lacks("SETTLED_TEST_REGISTRY"),
            "postgres": lacks("SETTLED_TEST_DSN", "integration_relay", "integration_store")}


def copy_tree(to):
    """Copies the files that git knows, and new ones, but no builds and no results."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, to / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


class Bench:
    """A copy of the sources, built; patches are applied to it one after the other."""

    def __init__(self, folder, environment):
        self.folder, self.kept = folder, folder.with_name(f"{folder.name}-kept")
        self.said = ""  # by the last case
        # No repository above the copy may be mistaken for its own.
        self.environment = {**environment, "GIT_CEILING_DIRECTORIES": str(folder.parent)}

    def command(self, *command, seconds=600, **variables):
        """Returns (status, output); status 124 after `seconds`."""
        try:
            with tempfile.TemporaryFile() as out:
                status = services.run_to_end(command, timeout=seconds, cwd=self.folder,
                                             env={**self.environment, **variables}, stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=subprocess.STDOUT)
                out.seek(0)
                return status, out.read().decode(errors="replace")
        except subprocess.TimeoutExpired:
            return 124, ""

    def build(self, programs):
        return self.command("cmake", "--build", "build", "--parallel", str(os.cpu_count() or 1), "--target",
                            *sorted(programs))

    def case(self, program, case):
        """Runs one case; returns "passed", "failed" or another outcome. `said` is what it printed."""
        command, seconds, variables = self.command_of(program, case)
        status, self.said = self.command(*command, seconds=seconds, **variables)
        if status == 124:
            return f"did not end within {seconds} s"
        if not variables.get("SETTLED_TEST_CASES"):
            return "passed" if status == 0 else "failed"
        name = "" if case == "*" else f"{case}\n"
        if status == 0:
            return "passed" if f"[       OK ] {name}" in self.said else "did not run"
        return "failed" if f"[ RUN      ] {name}" in self.said else f"did not run: status {status}"

    def command_of(self, program, case):
        """(command, how long it may take, variables)."""
        settled = str(self.folder / "build" / "settled")
        if program in ON_THE_PROGRAM and not os.path.exists(PYTHON):
            raise Broken(f"{PYTHON} is missing, by which {program}:{case} runs: `tests/run.sh --only recipes` makes it")
        if program == "sim":
            return ["build/tests/sim/sim", "--seeds", case], CASE_SECONDS, {}
        if program == "world":
            return [PYTHON, "tests/worlds/world.py", "--bin", settled, "--seed", case], LONG_CASE_SECONDS, {}
        if program == "pytest":
            return ([PYTHON, "-m", "pytest", "-q", "-c", "tests/pytest.ini", "--rootdir", "tests", f"tests/{case}"],
                    LONG_CASE_SECONDS, {"SETTLED_BINARY": settled, "PYTHONDONTWRITEBYTECODE": "1"})
        return [f"build/tests/{program}"], CASE_SECONDS, {"SETTLED_TEST_CASES": case}

    def prepare(self, programs):
        copy_tree(self.folder)
        for status, output in (self.command(*CONFIGURE), self.build(programs)):
            if status != 0:
                raise Broken(f"the sources do not build:\n{output[-3000:]}")

    def keep(self):
        """A copy of sources and build as they stand now, for `fresh`."""
        subprocess.run(["cp", "-a", self.folder, self.kept], check=True)

    def fresh(self):
        """As it was at `keep`, with the times of the files, so that nothing is built twice."""
        shutil.rmtree(self.folder)
        subprocess.run(["cp", "-a", self.kept, self.folder], check=True)

    def apply(self, patch):
        """Returns what is needed to undo it."""
        before = {}
        for name in files_of(patch):
            target = self.folder / name
            before[target] = target.read_bytes() if target.is_file() else None
        status, output = self.command("git", "apply", str(patch))
        if status != 0:
            raise Broken(f"does not apply: {output.strip()}. The code has moved on: make the same change by hand "
                         f"and put `git diff` of it below the comment of {patch.name}")
        return before

    def undo(self, before):
        for target, content in before.items():
            if content is None:
                target.unlink(missing_ok=True)
            else:
                target.write_bytes(content)


def supervise(name, work):
    """Calls work(owner, folder) with services of its own and a folder of this name, and ends what it left behind. work
    returns how many patches it tried and how many failed, and the last line prints these numbers. Returns the exit
    status."""
    services.adopt_orphans()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            folder = owner.folder / name
            folder.mkdir()
            tried, failed = work(owner, folder)
        print(f"{tried - failed} passed, {failed} failed")
        return 1 if failed else 0
    except (Broken, services.ServiceError) as broken:
        print(f"{broken}\n0 passed, 1 failed")
        return 1
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    finally:
        services.reap_all()
