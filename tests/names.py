#!/usr/bin/env python3
"""Checks what a reader of the C sources relies on: names that mean one thing, functions that fit a screen, plain
statements.

    names.py [FOLDER]      the root of the sources; without it, of this repository

In pricing, consumer and schemas, a tag, a type or a function that others see has one definition and none of the names that
have misled readers before, the name of a static function occurs in at most three files, and a function has at most six
parameters. There and in tests, a function has at most 60 lines, a line has at most 100 columns, the body of an `if` or a
loop begins on a new line, and no comma operator joins two statements.
"""

import collections
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = ("pricing", "consumer", "schemas")
FOLDERS = (*PROGRAM, "tests")

LINE_COLUMNS = 100
FUNCTION_LINES = 60
PARAMETERS = 6
STATIC_FILES = 3

# Functions that may have more parameters, and why.
ALLOWED_PARAMETERS = {
    "args_integer": "a default and two bounds are plainest where the option is read",
    "on_request": "libmicrohttpd calls it (MHD_AccessHandlerCallback)",
    "on_sent": "librdkafka calls it (rd_kafka_interceptor_f_on_request_sent_t)",
    "on_answer": "librdkafka calls it (rd_kafka_interceptor_f_on_response_received_t)",
}

# Words that mislead in a tag or a function's name, and what to say instead. What the contract calls so (the verb
# `rejects pass`, DECISION_PASS, run.max_calls_held, settled_calls_held) is none of these.
MISLEADING = (
    (r"(^|_)trial(_|$)", "the checks of a record are its validation"),
    (r"^(fold_\w+_)?pass(es)?$", "what an operator decides about a record's time is an override"),
    (r"(^|_)(calls|bytes)_held$", "a day is held; calls in memory are resident"),
)

OPENING, CLOSING = "([{", ")]}"
CONTROL = re.compile(r"\b(if|for|while|switch|else)\b")
LABEL = re.compile(r"^\s*(?:(?:case\b[^:?]*|default\s*|[A-Za-z_]\w*\s*):\s*)*")
DECLARATION = re.compile(r"(?:[A-Za-z_]\w*[\s*]+)+[\s*]*[A-Za-z_]\w*\s*[,=;\[(]")
TYPE_BODY = re.compile(r"\b(?:struct|union|enum)(?:\s+[A-Za-z_]\w*)?\s*$")


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def hollow(match):
    """Removes a comment; of a text it keeps the quotes."""
    text = match[0]
    return blank(match) if text.startswith("/") else text[0] + "_" * (len(text) - 2) + text[-1]


class Source:
    """A file without comments, texts and preprocessor lines; all other characters keep their places."""

    def __init__(self, path, text):
        self.path = path
        self.lines = text.split("\n")
        text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', hollow, text, flags=re.S)
        self.text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)
        self.pairs = self.find_pairs()

    def find_pairs(self):
        """For each opening bracket, where it closes."""
        stack, pairs = [], {}
        for match in re.finditer(r"[()\[\]{}]", self.text):
            if match[0] in OPENING:
                stack.append(match.start())
            elif stack:
                pairs[stack.pop()] = match.start()
        return pairs

    def line(self, at):
        return self.text.count("\n", 0, at) + 1


def is_block(text, brace):
    """Whether a brace opens statements, and not an initialiser, a list of enumerators or members."""
    before = text[:brace]
    kept = before.rstrip()
    if not kept or kept.endswith((";", "}", "else", "do", ":")):
        return True
    if kept.endswith("{"):
        return not re.search(r"=\s*\{$", kept)
    # A compound literal's brace follows its type at once: (struct slice){...}
    return kept.endswith(")") and before != kept


def statements(source):
    """Yields (start, text) of each statement and declaration; what is nested within brackets is left out of the text."""
    text, at, start, kept = source.text, 0, None, []
    for match in re.finditer(r"[;()\[\]{}]", text):
        if match.start() < at:
            continue
        piece = text[at:match.start()]
        if start is None and piece.strip():
            start = at + len(piece) - len(piece.lstrip())
        kept.append(piece)
        at = match.end()
        if match[0] in "([" or (match[0] == "{" and not is_block(text, match.start())):
            start = match.start() if start is None else start
            kept.append(match[0] + CLOSING[OPENING.index(match[0])])
            at = source.pairs.get(match.start(), len(text)) + 1
        else:
            if start is not None:
                yield start, "".join(kept) + match[0]
            start, kept = None, []


# ---- names ----

def top_level(source):
    """Yields (start, end, head) of what stands at the outermost level; the head has brackets, but no braces' content."""
    text, start, head, at = source.text, None, [], 0
    for match in re.finditer(r"[;{]", text):
        if match.start() < at:
            continue
        head.append(text[at:match.start()])
        start = at if start is None else start
        at = match.end()
        if match[0] == "{":
            at = source.pairs.get(match.start(), len(text) - 1) + 1
            if not re.search(r"\)\s*$", head[-1]) or re.search(r"=", "".join(head)):
                head.append("{}")
                continue
        whole = "".join(head)
        yield start + len(whole) - len(whole.lstrip()), at, whole.strip() + match[0]
        start, head = None, []


def parameters_of(head):
    """How many parameters a function's head has, and its name; None when it is no function's."""
    found = re.match(r"[A-Za-z_][\w\s*]*?\b([A-Za-z_]\w*)\s*\((.*)\)\s*\{$", head, re.S)
    if not found or "=" in head:
        return None
    depth, count = 0, 1
    for character in found[2]:
        depth += (character in OPENING) - (character in CLOSING)
        count += character == "," and depth == 0
    return found[1], count


def own_names(source):
    """Yields (kind, name, position) of what a file defines."""
    for match in re.finditer(r"\b(?:struct|union|enum)\s+([A-Za-z_]\w*)\s*\{", source.text):
        yield "tag", match[1], match.start()
    for start, _, head in top_level(source):
        if head.startswith("typedef"):
            found = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", head) or re.search(r"(\w+)\s*(?:\[[^\]]*\]|\(.*\))?\s*;$", head, re.S)
            yield "tag", found[1], start
            continue
        function = parameters_of(head)
        if function:
            local = head.startswith("static") and source.path.suffix == ".c"
            yield "static" if local else "function", function[0], start
        elif not re.match(r"(?:extern|static|struct\s+\w+\s*(?:\{\})?\s*;|(?:struct|union|enum)\s*\w*\s*\{\}\s*;)", head):
            variable = re.match(r"[A-Za-z_][\w\s*]*?\b([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)*(?:=|;)", head)
            if variable and "(" not in head.split("=")[0]:
                yield "function", variable[1], start


MANY = {
    "tag": (1, "is defined in {files}", "give one of them another name, or define it once in a header that both include"),
    "function": (1, "is defined in {files}", "begin each with its module's prefix, or make it static"),
    "static": (STATIC_FILES, "names a static function in {files}",
               f"a name that more than {STATIC_FILES} files use tells nothing; name it after what it works on"),
}


def shared_names(sources):
    places = collections.defaultdict(dict)
    for source in sources:
        for kind, name, at in own_names(source):
            places[kind, name].setdefault(source.path, source.line(at))
    for (kind, name), files in places.items():
        most, what, mend = MANY[kind]
        if len(files) > most:
            path, line = sorted(files.items())[-1]
            others = ", ".join(sorted(str(file) for file in files))
            yield f"{path}:{line}: {name} {what.format(files=others)}: {mend}"


def misleading_names(source):
    for _, name, at in own_names(source):
        for word, mend in MISLEADING:
            if re.search(word, name):
                yield at, f"{name} misleads: {mend}"


# ---- functions and lines ----

def functions(source, program):
    for start, end, head in top_level(source):
        function = parameters_of(head)
        if not function:
            continue
        name, parameters = function
        lines = source.line(end) - source.line(start) + 1
        if lines > FUNCTION_LINES:
            yield start, f"{name} has {lines} lines, {FUNCTION_LINES} may be: split it where a part has a name of its own"
        if program and parameters > PARAMETERS and name not in ALLOWED_PARAMETERS:
            yield start, (f"{name} has {parameters} parameters, {PARAMETERS} may be: put those that belong together into a "
                          "struct with a name of the domain, or, for a library's callback, name it in ALLOWED_PARAMETERS")


def one_line_bodies(source):
    """Finds each `if`, `else` and loop whose body stands on the line of its condition."""
    for match in CONTROL.finditer(source.text):
        end = match.end()
        if match[1] != "else":
            end = source.pairs.get(source.text.find("(", end), len(source.text) - 1) + 1
        rest = source.text[end:].split("\n", 1)[0].strip()
        loop_end = match[1] == "while" and source.text[:match.start()].rstrip().endswith("}") and rest == ";"
        if rest and not rest.startswith("{") and not loop_end and not (match[1] == "else" and rest.startswith("if")):
            yield match.start(), f"what this `{match[1]}` does stands on its own line: put it on the next, indented"


def commas(source):
    mend = "write a statement for each"
    for start, text in statements(source):
        text = LABEL.sub("", text)
        if "," in text and not text.endswith("{") and not DECLARATION.match(text) or re.match(r"return\b[^;]*,", text):
            yield start, f"a comma joins two statements: {mend}"
    for match in re.finditer(r"\b(?:if|while|switch)\s*\(", source.text):
        opened = match.end() - 1
        at = opened + 1
        while at < source.pairs.get(opened, 0):
            if source.text[at] == ",":
                yield match.start(), f"a comma joins two expressions in a condition: {mend}"
                break
            at = source.pairs.get(at, at) + 1


def long_lines(source):
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_COLUMNS:
            yield number, f"has {len(line)} columns, {LINE_COLUMNS} may be: break the line (tests/format.sh --fix)"


def faults(root):
    sources = [Source(path.relative_to(root), path.read_text())
               for folder in FOLDERS for path in sorted((root / folder).rglob("*.[ch]"))]
    program = [source for source in sources if source.path.parts[0] in PROGRAM]
    found = list(shared_names(program))
    for source in sources:
        checks = [lambda s: functions(s, s in program), one_line_bodies, commas]
        if source in program:
            checks.append(misleading_names)
        for check in checks:
            found += [f"{source.path}:{source.line(at)}: {what}" for at, what in check(source)]
        found += [f"{source.path}:{number}: {what}" for number, what in long_lines(source)]
    return sorted(set(found)), len(sources)


def stale(root):
    """Entries of the list that are not needed."""
    many = {name for folder in PROGRAM for path in (root / folder).rglob("*.c")
            for source in [Source(path.relative_to(root), path.read_text())] for _, _, head in top_level(source)
            for name, parameters in [parameters_of(head) or ("", 0)] if parameters > PARAMETERS}
    return [f"tests/names.py: {name} is on the list ALLOWED_PARAMETERS, and has no more than {PARAMETERS}: take it off"
            for name in sorted(set(ALLOWED_PARAMETERS) - many)]


# ---- the check itself ----

def go(*lines, head="int go(int a, int b)"):
    """A function of these lines."""
    return "\n".join((head, "{", *(f"    {line}" for line in lines), "}", ""))


TAG = "struct a { int x; };\n"
FAIL = go("return a;", head="static int fail(int a)")
PLAIN = """
struct p { int x, y; };
enum { A, B };
static const int list[] = {1, 2}, more = 3;
""" + go("int c = 1, *d = &c;", "struct p q = {1, 2}, r;", "const char *s = \"a, b\", t = ',';", "r = (struct p){a, 2};",
         "for (int i = 0, j = 1; i < j; i++, j--)", "    f((struct p[]){{1, 2}, {3, 4}}, 1);", "return b;")

# What the files hold, and what must be reported; None if nothing.
CASES = (
    ({"consumer/a.h": TAG, "consumer/b.c": TAG}, "a is defined in"),
    ({"consumer/a.h": "typedef int day(void *context, int n);\n", "pricing/b.h": "typedef long day;\n"}, "day is defined in"),
    ({"consumer/a.c": "enum kind { A };\n", "consumer/b.c": "union kind { int a; };\n"}, "kind is defined in"),
    ({"consumer/a.c": go("return 1;"), "pricing/b.c": go("return 2;")}, "go is defined in"),
    ({"consumer/a.c": "const int most = 1;\n", "consumer/b.c": "int most;\n"}, "most is defined in"),
    ({f"consumer/{n}.h": go("return 1;", head="static inline int one(void)") for n in "ab"}, "one is defined in"),
    ({f"consumer/{n}.c": FAIL for n in "abcd"}, "fail names a static function in"),
    ({f"consumer/{n}.c": FAIL for n in "abc"}, None),
    ({"consumer/a.c": "struct trial { int x; };\n"}, "trial misleads"),
    ({"consumer/a.h": go("return 1;", head="static inline int fold_find_pass(void)")}, "fold_find_pass misleads"),
    ({"consumer/a.c": go("return 1;", head="int fold_calls_held(void)")}, "fold_calls_held misleads"),
    ({"consumer/a.c": go("return 1;", head="void fault_pass(void)")}, None),
    ({"tests/a.c": TAG + FAIL, "tests/b.c": TAG + FAIL, "tests/c.c": FAIL, "tests/d.c": FAIL}, None),
    ({"consumer/a.c": go("return a;", head="int go(int a, int b, int c, int d, int e, int f, int (*g)(int, int))")},
     "go has 7 parameters"),
    ({"consumer/a.c": go("return a;", head="int go(int a, int b, int c, int d, int e, int (*f)(int, int))")}, None),
    ({"consumer/a.c": go("return a;", head="int on_sent(int a, int b, int c, int d, int e, int f, int g)")}, None),
    ({"tests/a.c": go(*["a += b;"] * (FUNCTION_LINES - 2))}, "go has 61 lines"),
    ({"tests/a.c": go(*["a += b;"] * (FUNCTION_LINES - 3))}, None),
    ({"tests/a.c": "//" + "x" * (LINE_COLUMNS - 1) + "\n"}, "has 101 columns"),
    ({"tests/a.c": "//" + "x" * (LINE_COLUMNS - 2) + "\n"}, None),
    ({"tests/a.c": go("if (a) go(0, 0);")}, "this `if`"),
    ({"tests/a.c": go("if (a)", "    go(0, 0);", "else go(1, 1);")}, "this `else`"),
    ({"tests/a.c": go("for (; a;) a--;")}, "this `for`"),
    ({"tests/a.c": go("while (a--);")}, "this `while`"),
    ({"tests/a.c": go("do {", "    a--;", "} while (a);", "if (a) {", "    b = 0;", "} else if (!b)",
                       "    b = 1; // if (a) b;")}, None),
    ({"tests/a.c": go("a = 1, b = 2;")}, "a comma joins two statements"),
    ({"tests/a.c": go("(void)a, (void)b;")}, "a comma joins two statements"),
    ({"tests/a.c": go("return a++, b;")}, "a comma joins two statements"),
    ({"tests/a.c": go("switch (a) {", "case 1:", "    a++, b++;", "}")}, "a comma joins two statements"),
    ({"tests/a.c": go("if (a++, b)", "    b = 0;")}, "in a condition"),
    ({"consumer/a.c": PLAIN}, None),
)


def self_test():
    for files, expected in CASES:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).write_text(text)
            found, _ = faults(root)
            if (expected is None) != (not found) or (expected and not any(expected in each for each in found)):
                return [f"self-test: {files} gave {found}, expected {expected!r}"]
    return []


def main():
    if len(sys.argv) > 2:
        print(__doc__, file=sys.stderr)
        return 64
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT
    found, count = faults(root)
    found = self_test() + found + stale(root)
    print("\n".join(found) if found else f"{count} files have names that mean one thing, short functions and plain statements")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
