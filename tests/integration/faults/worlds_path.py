"""Puts what the tests share on the path."""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[2]
for folder in (TESTS, TESTS / "worlds", TESTS / "lib", TESTS / "integration" / "faults"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
