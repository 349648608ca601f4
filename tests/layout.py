#!/usr/bin/env python3
"""Checks the tree against the table of folders in consumer/ARCHITECTURE.md.

    layout.py BUILD_DIR      e.g. build/release

Every folder of consumer/ has a row there, which says what it may use. Refused are: an #include that the table does not
allow, a cycle of folders in the table, a cycle of files (by what they include, and by whose functions their objects
call), and a folder of more than fifteen modules.
"""

import collections
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[1]
TABLE = SOURCE / "consumer" / "ARCHITECTURE.md"
TOP = ("pricing", "schemas")  # beside consumer/; all other folders of the table are in it
MODULES_MAX = 15  # a module is a header with its source, or either of them


def read_table(text):
    """{folder: set of the folders that it may use}, in the table's order."""
    lines = text.partition("<!-- folders:")[2].splitlines()[3:]
    found = {}
    for line in lines:
        columns = [column.strip() for column in line.split("|")]
        if len(columns) != 5:
            break
        found[columns[1].strip("`")] = set(re.findall(r"`(\w+)`", columns[3]))
    return found


def cycles(edges):
    """The strongly connected sets of more than one node, and nodes that lead to themselves (Tarjan)."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            at = stack.index(node)
            members = stack[at:]
            del stack[at:]
            if len(members) > 1 or node in edges.get(node, ()):
                found.append(sorted(members))

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return found


def sources():
    return [path for folder in ("pricing", "consumer") for path in sorted((SOURCE / folder).rglob("*.[ch]"))]


def folder_of(path):
    """'core' of consumer/core/fold.c; '' of consumer/main.c, which may use any folder."""
    parts = pathlib.PurePath(path).parts
    return parts[0] if parts[0] in TOP else parts[1] if len(parts) > 2 else ""


def includes_of(path):
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)


def wrong_includes(table, includes):
    found = []
    for file, targets in includes.items():
        mine = folder_of(file)
        for target in targets:
            other = folder_of(target)
            if mine and other != mine and other not in table.get(mine, ()):
                found.append(f"{file} includes {target}, but {mine} may use only "
                             f"{', '.join(sorted(table.get(mine, ()))) or 'itself'}: turn the dependency round, or "
                             f"move what is needed inward; as a last resort allow it in {TABLE.relative_to(SOURCE)}")
    return found


def wrong_table(table, folders):
    found = [f"{name}/ has no row in the table of {TABLE.relative_to(SOURCE)}: write the question that it answers"
             for name in sorted(folders - table.keys())]
    found += [f"the table of {TABLE.relative_to(SOURCE)} has {name}, which is no folder of consumer/"
              for name in sorted(table.keys() - folders)]
    seen = set()
    for name, uses in table.items():
        found += [f"{name} may use {other}, which stands behind it in the table: a reader meets it too late"
                  for other in sorted(uses - seen)]
        seen.add(name)
    return found


def crowded(files):
    modules = collections.defaultdict(set)
    for file in files:
        modules[str(pathlib.PurePath(file).parent)].add(pathlib.PurePath(file).stem)
    return [f"{folder}/ holds {len(names)} modules, the most is {MODULES_MAX}: which question is it two answers to?"
            for folder, names in sorted(modules.items()) if len(names) > MODULES_MAX]


def calls_of(build):
    """{object: objects whose functions or variables it refers to}, by the names that objects define for all."""
    objects = sorted([*(build / "pricing").rglob("*.o"), *(build / "consumer").rglob("*.o")])
    definers, wanted = {}, collections.defaultdict(set)
    for path in objects:
        name = re.sub(r".*\.dir/", "", str(path)).removesuffix(".c.o")
        if not (SOURCE / "consumer" / f"{name}.c").exists() and not (SOURCE / "pricing" / f"{name}.c").exists():
            continue  # of an earlier tree in the same build
        # The plugin would show the symbols for link-time optimisation, where those of the C library are left out.
        text = subprocess.run(["nm", "--plugin=/dev/null", path], capture_output=True, text=True, check=True).stdout
        for line in text.splitlines():
            *_, kind, symbol = line.split()
            if kind == "U":
                wanted[name].add(symbol)
            elif kind in "TDRB":
                definers[symbol] = name
    return {name: {definers[s] for s in symbols if s in definers} - {name} for name, symbols in wanted.items()}


def self_test():
    """Each check can fail."""
    text = "<!-- folders: -->\n| folder | q | may use |\n|---|---|---|\n| `a` | x | |\n| `b` | y | `a` |\n\nend"
    table = read_table(text)
    seen = [
        table == {"a": set(), "b": {"a"}},
        wrong_includes(table, {"consumer/a/x.c": ["consumer/b/y.h"]}),
        not wrong_includes(table, {"consumer/b/x.c": ["consumer/a/y.h", "consumer/b/z.h"], "consumer/m.c": ["consumer/a/y.h"]}),
        wrong_table({"a": {"b"}, "b": set()}, {"a", "b"}),
        wrong_table({"a": set()}, {"a", "b"}),
        wrong_table({"a": set(), "b": set()}, {"a"}),
        cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]],
        not cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}),
        crowded([f"consumer/a/{n}.c" for n in range(MODULES_MAX + 1)]),
        not crowded([f"consumer/a/{n}.{e}" for n in range(MODULES_MAX) for e in "ch"]),
    ]
    return [f"self-test {number} does not hold" for number, each in enumerate(seen) if not each]


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    build = pathlib.Path(sys.argv[1])
    table = read_table(TABLE.read_text())
    files = [str(path.relative_to(SOURCE)) for path in sources()]
    includes = {file: includes_of(SOURCE / file) for file in files}
    calls = calls_of(build)
    if not calls:
        print(f"{build} holds no objects: build it first", file=sys.stderr)
        return 69
    folders = {folder_of(file) for file in files} - {""} | set(TOP)
    found = self_test() + wrong_table(table, folders) + wrong_includes(table, includes) + crowded(files)
    found += [f"files that need one another by what they include: {', '.join(c)}" for c in cycles({f: set(t) for f, t in includes.items()})]
    found += [f"files that need one another by what they call: {', '.join(c)}" for c in cycles(calls)]
    print("\n".join(found) if found else f"{len(files)} files in {len(table)} folders, no cycle; as the table allows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
