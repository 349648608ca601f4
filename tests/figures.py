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
from layout import cycles, includes_of  # noqa: E402 (the path is set above)
from names import LINE_COLUMNS, STATIC_FILES, Source, one_line_bodies, own_names, parameters_of, top_level  # noqa: E402


def main():
    tree = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1])
    paths = [path for folder in ("pricing", "consumer") for path in sorted((tree / folder).rglob("*.[ch]"))]
    texts = {str(path.relative_to(tree)): path.read_text() for path in paths}
    lines = [line for text in texts.values() for line in text.splitlines()]
    sources = [Source(path.relative_to(tree), path.read_text()) for path in paths]
    bodies = sorted(source.text.count("\n", source.text.index("\n{", start) + 1, end) + 1
                    for source in sources if source.path.suffix == ".c"
                    for start, end, head in top_level(source) if parameters_of(head))
    includes = {str(path.relative_to(tree)): {each for each in includes_of(path) if each in texts} for path in paths}
    folders = collections.defaultdict(set)
    width, named = collections.Counter(), collections.defaultdict(collections.Counter)
    for name, targets in includes.items():
        folder = str(pathlib.PurePath(name).parent)
        folders[folder] |= {str(pathlib.PurePath(each).parent) for each in targets} - {folder}
        width[folder] += 1
    for source in sources:
        for kind, name in {(kind, name) for kind, name, _ in own_names(source)}:
            named[kind][name] += 1
    shared = lambda kind, most: sum(count > most for count in named[kind].values())  # noqa: E731
    per_1000 = lambda count: f"{1000 * count / len(lines):.1f}"  # noqa: E731
    widest, files = width.most_common(1)[0]
    rows = [
        ("files; lines", f"{len(texts)}; {len(lines)}"),
        ("functions: lines at the median, at 90 %, at most",
         f"{bodies[len(bodies) // 2]}, {bodies[len(bodies) * 9 // 10]}, {bodies[-1]}"),
        ("assertions per 1,000 lines", per_1000(sum(len(re.findall(r"\bassert\(|\bstatic_assert\(", line)) for line in lines))),
        ("lines that are comments, %", f"{100 * sum(line.lstrip().startswith('//') for line in lines) / len(lines):.1f}"),
        ("widest folder, files", f"{widest}, {files}"),
        ("lines over 100 columns, per 1,000", per_1000(sum(len(line) > LINE_COLUMNS for line in lines))),
        ("one-line if, for, while, per 1,000", per_1000(sum(len(list(one_line_bodies(source))) for source in sources))),
        ("cycles of folders", len(cycles(folders))),
        ("cycles of files", len(cycles(includes))),
        ("type tags that two files define", shared("tag", 1)),
        ("functions that two files define for all", shared("function", 1)),
        ("static names in more than three files", shared("static", STATIC_FILES)),
    ]
    for what, value in rows:
        print(f"{what:<50} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
