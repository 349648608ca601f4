"""fastavro_plan.py under a few seeds; under more with SETTLED_LONG."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
RUNNER = HERE.parents[1] / "build" / "release" / "tests" / "differential" / "plan_runner"
SEEDS = range(1, 41) if os.environ.get("SETTLED_LONG") else range(1, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_plan_reads_as_fastavro_does(seed):
    if not RUNNER.exists():
        pytest.fail(f"{RUNNER} is not built: cmake --preset release && cmake --build --preset release")
    run = subprocess.run([sys.executable, HERE / "fastavro_plan.py", "--seed", str(seed), "--cases", "3000",
                          "--runner", RUNNER], capture_output=True, text=True, check=False, timeout=250)
    assert run.returncode == 0, run.stderr[-4000:] + run.stdout
