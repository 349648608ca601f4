#!/usr/bin/env python3
"""Takes pictures of the console over a deployment with a month behind it: of each view in both languages, in the dark, and on a
telephone.

    build/venv/bin/python tests/console/screenshots.py [--out DIR] [--serve]

It starts services of its own, unless SETTLED_TEST_* tells of running ones. --serve: instead of taking pictures it prints
the address, and keeps all of it until Enter. tests/integration/test_console.py takes the same pictures, into build/console.
"""

import argparse
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

import console  # noqa: E402 (the path is set above)
import services  # noqa: E402


def take(options):
    settled = os.environ.get("SETTLED_BINARY", ROOT / "build" / "release" / "settled")
    with tempfile.TemporaryDirectory() as folder, console.running(
            settled, os.environ["SETTLED_TEST_BROKERS"], os.environ["SETTLED_TEST_DSN"], pathlib.Path(folder)) as (_, daemon, _):
        base = f"http://127.0.0.1:{daemon.port}"
        if options.serve:
            input(f"{base}/ until Enter\n")
            return
        with console.browser() as launched:
            for path in console.shoot(launched, base, options.out):
                print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "console")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if "SETTLED_TEST_BROKERS" in os.environ and "SETTLED_TEST_DSN" in os.environ:
        take(options)
        return
    with services.Services() as owner:
        os.environ.update(services.start_asked(owner, kafka=1, postgres=True))
        take(options)


if __name__ == "__main__":
    main()
