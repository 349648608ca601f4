#!/usr/bin/env python3
"""Figures of the source tree, to be compared between two commits; nothing is refused.

    figures.py [TREE]      a checkout; this one by default

Of pricing/ and consumer/: lengths of functions, assertions and comments, the widest folder, long lines, cycles of folders
and of files by what they include (layout.py also looks at what they call), and names that two files define.
"""

import collections
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from layout import cycles  # noqa: E402 (the path is set above)


def functions_of(lines):
    """Lengths of the bodies, whose braces stand in the first column."""
    found, start = [], None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            found.append(number - start + 1)
            start = None
    return found


def definitions_of(text):
    """(tags of types, names of functions that are static, and of those that are not)."""
    tags = re.findall(r"^(?:struct|enum|union) (\w+) \{", text, re.MULTILINE)
    heads = re.findall(r"^(static )?(?!typedef|struct \w+ \{|return\b)[a-z_][\w \*]*?[ \*](\w+)\([^;]*?\)\n\{", text, re.MULTILINE)
    return tags, [name for static, name in heads if static], [name for static, name in heads if not static]


def main():
    tree = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1])
    paths = [path for folder in ("pricing", "consumer") for path in sorted((tree / folder).rglob("*.[ch]"))]
    texts = {str(path.relative_to(tree)): path.read_text() for path in paths}
    lines = [line for text in texts.values() for line in text.splitlines()]
    bodies = sorted(length for name, text in texts.items() if name.endswith(".c") for length in functions_of(text.splitlines()))
    includes = {name: {each for each in re.findall(r'#include "([^"]+)"', text) if each in texts} for name, text in texts.items()}
    folders = collections.defaultdict(set)
    width, tags, statics, globals_ = collections.Counter(), collections.Counter(), collections.Counter(), collections.Counter()
    for name, targets in includes.items():
        folder = str(pathlib.PurePath(name).parent)
        folders[folder] |= {str(pathlib.PurePath(each).parent) for each in targets} - {folder}
        width[folder] += 1
        for counter, names in zip((tags, statics, globals_), definitions_of(texts[name])):
            counter.update(set(names))
    per_1000 = lambda count: f"{1000 * count / len(lines):.1f}"  # noqa: E731
    widest, files = width.most_common(1)[0]
    rows = [
        ("files; lines", f"{len(texts)}; {len(lines)}"),
        ("functions: lines at the median, at 90 %, at most",
         f"{bodies[len(bodies) // 2]}, {bodies[len(bodies) * 9 // 10]}, {bodies[-1]}"),
        ("assertions per 1,000 lines", per_1000(sum(len(re.findall(r"\bassert\(|\bstatic_assert\(", line)) for line in lines))),
        ("lines that are comments, %", f"{100 * sum(line.lstrip().startswith('//') for line in lines) / len(lines):.1f}"),
        ("widest folder, files", f"{widest}, {files}"),
        ("lines over 100 columns, per 1,000", per_1000(sum(len(line) > 100 for line in lines))),
        ("one-line if, for, while, per 1,000",
         per_1000(sum(bool(re.match(r"\s*(?:\} )?(?:else )?(?:if|for|while) \(.*\) [^{&|]*;(?: //.*)?$", line)) for line in lines))),
        ("cycles of folders", len(cycles(folders))),
        ("cycles of files", len(cycles(includes))),
        ("type tags that two files define", sum(count > 1 for count in tags.values())),
        ("functions that two files define for all", sum(count > 1 for count in globals_.values())),
        ("static names in more than three files", sum(count > 3 for count in statics.values())),
    ]
    for what, value in rows:
        print(f"{what:<50} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
