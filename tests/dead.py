#!/usr/bin/env python3
"""Finds what is dead: functions of pricing/ and consumer/ that no other file of the program refers to.

    dead.py BUILD_DIR      e.g. build/release

A function that only its own tests call is of no use. This is checked from the symbols: what an object defines for all
must be undefined in another object of the program; objects of tests do not count. A function that only its own file
calls has to be static, unless it is on the list below.
"""

import pathlib
import subprocess
import sys
import tempfile

ARCHIVES = ("pricing/libsettled_pricing.a", "consumer/libsettled_core.a", "consumer/libsettled_io.a",
            "consumer/libsettled_program.a")
MAIN = "consumer/CMakeFiles/settled.dir/main.c.o"

# Functions that are allowed all the same, and why.
ALLOWED = {
    "main": "the C library calls it",
    # Each of these is called in its own file, and tests call it where the way through its callers is longer or costly.
    "cli_parse": "cli_main's reading of a command line, without doing what it says",
    "plan_compile_schemas": "plan_compile for any reader's schema, not only for the three inputs",
    "policy_text": "what policy_digest hashes: a test compares it with what is documented",
    "position_format": "the text that position_parse reads: tests read back what it writes",
    "settlement_schema_sha256": "what every encoder carries: tests compare it with what is published",
    "writer_schemas_create_with": "writer_schemas_create with waits that a test can sit out",
}


def objects(path):
    """Yields (object, functions defined for all, symbols referred to) of an archive or object."""
    # The plugin would show the symbols for link-time optimisation, where those of the C library are left out.
    text = subprocess.run(["nm", "--plugin=/dev/null", "--print-file-name", path], capture_output=True, text=True,
                          check=True).stdout
    found = {}
    for line in text.splitlines():
        name, _, symbol = line.rpartition(":")
        defined, referred = found.setdefault(name, (set(), set()))
        *_, kind, symbol = symbol.split()
        if kind == "T":
            defined.add(symbol)
        elif kind == "U":
            referred.add(symbol)
    for name, (defined, referred) in found.items():
        yield name, defined, referred


def dead(paths):
    """The functions that no object of `paths` but their own refers to: {function: object}."""
    parts = [part for path in paths for part in objects(path)]
    referred = {symbol for _, _, symbols in parts for symbol in symbols}
    return {symbol: name.rpartition(":")[2] or name for name, defined, _ in parts for symbol in defined - referred}


def differences(found):
    """Dead functions that are not on the list, and entries of the list that are not needed."""
    return [f"{found[symbol]}: no other file of the program refers to {symbol}: delete it, or make it static if its own "
            "file calls it" for symbol in sorted(found.keys() - ALLOWED.keys())] + \
           [f"{symbol} is not dead: take it off the list in tests/dead.py"
            for symbol in sorted(ALLOWED.keys() - found.keys())]


def self_test():
    """The check can fail: of two functions in one file and a caller in another, only the one that is called may stand."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = []
        for name, code in (("leaf", "int used(void) { return 1; }\nint unused(void) { return used(); }"),
                           ("main", "int used(void);\nint main(void) { return used(); }")):
            source = pathlib.Path(folder) / f"{name}.c"
            source.write_text(code)
            subprocess.run(["cc", "-O1", "-c", source, "-o", source.with_suffix(".o")], check=True)
            compiled.append(source.with_suffix(".o"))
        found = sorted(dead(compiled))
    return [] if found == ["main", "unused"] else [f"self-test: found {found}, expected 'main' and 'unused'"]


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    paths = [pathlib.Path(sys.argv[1]) / name for name in (*ARCHIVES, MAIN)]
    for path in paths:
        if not path.exists():
            print(f"{path} is not built", file=sys.stderr)
            return 69
    found = self_test() + differences(dead(paths))
    print("\n".join(found) if found else "no function is dead")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
