#!/usr/bin/env python3
"""Checks that pure code is pure: no I/O, no clock, no randomness, no environment, no state of its own.

    purity.py BUILD_DIR      e.g. build/release

The fold must give the same bytes in the daemon, in the simulator and in an audit. So the symbols of pricing,
consumer/base, consumer/notices, consumer/usage and consumer/core are checked: an undefined symbol that is not on the list below is refused by name, and
so is a variable that outlives a call. The same list holds for the relay's machine and for the rows that it has read
back, since the simulator drives them as the daemon does.

For the same reason a shard reaches the outside world only through struct shard_host, except for its log lines. Its
objects, and the decoder that they call, may use only the same list, and the few modules that only work in memory.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[1]

# What pure code may call, and why it stays pure.
ALLOWED = {
    "bytes and strings in memory":
        r"mem(cpy|move|set|cmp|chr|rchr|mem)|str(len|nlen|cmp|ncmp|chr|chrnul|rchr|str|spn|cspn|pbrk|dup|ndup)|stpcpy",
    "the same, as _FORTIFY_SOURCE names them": r"__(mem(cpy|move|set)|stpcpy|v?snprintf)_chk",
    "formatting into a buffer of the caller's": r"v?snprintf",
    "integers from text (no floating point: it must not touch money)": r"(__isoc\d+_)?strtou?(l|ll)|__errno_location",
    "allocation": r"malloc|calloc|realloc|reallocarray|aligned_alloc|free|mmap|munmap|madvise",
    "sorting and searching": r"qsort|bsearch",
    "programming errors": r"abort|__assert_fail|__stack_chk_fail",
    "128-bit arithmetic and tables the compiler adds": r"__u?(div|mod|divmod)ti4?3?|__mulo?ti[34]|_GLOBAL_OFFSET_TABLE_",
    "digests (libcrypto, no key and no random)":
        r"SHA256(_\w+)?|EVP_(sha256|Digest(Init(_ex2?)?|Update|Final(_ex)?)?|MD_CTX_(new|free|reset|copy(_ex)?))",
    "hashes for tables in memory": r"XXH\w+",
}
# The price book is parsed in pricing, from a string that the caller has read.
ALLOWED_IN_PRICING = {
    "YAML from memory": r"yaml_parser_(initialize|delete|set_input_string|set_encoding|load|parse|scan)"
                        r"|yaml_(document|event|token)_\w+",
}
# What a shard may call directly; everything else comes through struct shard_host.
ALLOWED_IN_A_SHARD = {
    "its log": r"log_event",
    "decoding from memory": r"plan_decode|id_header_text",
    "rows for the outbox, in memory": r"encode_context_of|outbox_(build|release)",
    "figures in memory": r"metrics_(calls_waiting|commit|resident_calls)",
}
# Folders of object files below consumer/CMakeFiles, and which of their files are checked.
SHARD_OBJECTS = {"settled_program.dir": ("shard/shard.c.o", "shard/shard_*.c.o"),
                 "settled_io.dir": ("decode/record_decoder.c.o", "kafka/framing.c.o")}
FROZEN_SECTIONS = (".rodata", ".data.rel.ro")


def symbols(archive):
    """Yields (name, class, section) of every symbol: sysv format is the one that names the section.

    The plugin that nm would load shows what is there for link-time optimisation instead: no static variable, and nothing
    that the compiler knows by itself, such as printf and memcpy.
    """
    text = subprocess.run(["nm", "--plugin=/dev/null", "--format=sysv", archive], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 7 and columns[0] != "Name":
            yield columns[0], columns[2], columns[6]


def impure(files, inner, groups):
    """The symbols that the archives or objects use although they may not; they may use the archives `inner`."""
    allowed = re.compile("|".join(groups.values()))
    defined = {name for each in (*files, *inner) for name, kind, _ in symbols(each) if kind != "U"}
    found = []
    for file in files:
        for name, kind, section in symbols(file):
            if kind == "U" and name not in defined and not allowed.fullmatch(name):
                found.append(f"{file.name}: calls {name}, which is not on the list of pure functions")
            if kind in "bBdDcC" and not section.startswith(FROZEN_SECTIONS):
                found.append(f"{file.name}: {name} is a variable that outlives a call")
    return sorted(set(found))


def self_test():
    """The check can fail: an object that reads the clock, and one that keeps state, are refused; a clean one is not."""
    cases = {
        "int told(void) { extern int puts(const char *); return puts(\"told\"); }": "calls puts,",
        "long clocked(void) { extern long time(long *); return time(0); }": "calls time,",
        "int counted(void) { static int calls; return ++calls; }": "outlives a call",
        "int plain(const char *a) { extern int strcmp(const char *, const char *); return strcmp(a, a + 1); }": None,
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, (code, expected) in enumerate(cases.items()):
            source = pathlib.Path(folder) / f"case{number}.c"
            source.write_text(code)
            compiled = source.with_suffix(".o")
            # As in a release: gcc's objects hold both forms, and only one of them shows all symbols.
            subprocess.run(["cc", "-O1", "-flto", "-ffat-lto-objects", "-c", source, "-o", compiled], check=True)
            found = impure([compiled], (), ALLOWED)
            if (expected is None) != (not found) or (expected and expected not in found[0]):
                return [f"self-test: {code!r} gave {found}, expected {expected!r}"]
    return []


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    build = pathlib.Path(sys.argv[1])
    pricing, core = build / "pricing/libsettled_pricing.a", build / "consumer/libsettled_core.a"
    objects = build / "consumer" / "CMakeFiles"
    shard = []
    for folder, patterns in SHARD_OBJECTS.items():
        for pattern in patterns:
            found = sorted((objects / folder).glob(pattern))
            if not found:
                print(f"{objects / folder / pattern} is not built", file=sys.stderr)
                return 69
            shard += found
    for file in (pricing, core):
        if not file.exists():
            print(f"{file} is not built", file=sys.stderr)
            return 69
    found = self_test() + impure([pricing], (), ALLOWED | ALLOWED_IN_PRICING) + impure([core], (pricing,), ALLOWED) \
        + impure(shard, (pricing, core), ALLOWED | ALLOWED_IN_A_SHARD)
    print("\n".join(found) if found else "pricing, consumer/base, notices, usage and core, and the relay's machine are pure; a shard has the world from its host")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
