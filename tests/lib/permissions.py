"""The permissions in Kafka that deploy/RUNBOOK.md lists, as grants for one deployment (see Kafka.allow in services.py)."""

import pathlib
import re

RUNBOOK = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "RUNBOOK.md"
INPUTS = ("calls", "purchases", "credits")
OUTPUTS = ("settlements", "status", "day_closes", "rejects", "notices", "statements")


def _listed(title):
    """The rows of the table under a title: what, and the operations on it."""
    table = re.search(rf"^### {title}\n.*?^\|---\|---\|\n(.*?)\n\n", RUNBOOK.read_text(), re.DOTALL | re.MULTILINE)
    for row in table.group(1).splitlines():
        what, operations = row.strip("|").split("|")
        yield what.strip(), [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each.strip()).upper() for each in operations.split(",")]


def _resources(d, what):
    if what == "each input topic":
        return [f"topic {d.topics[key]}" for key in INPUTS]
    if what == "each output topic":
        return [f"topic {d.topics[key]}" for key in OUTPUTS]
    if what == "the output topic of rejects":
        return [f"topic {d.topics['rejects']}"]
    kind, prefix, name = re.fullmatch(r"(group|transactional id)(s with the prefix)? `GROUP(.*)`", what).groups()
    return [f"{kind.replace(' ', '_')} {d.name}{name}{'*' if prefix else ''}"]


def _grants(d, title):
    return [f"{operation} {resource}" for what, operations in _listed(title) for resource in _resources(d, what)
            for operation in operations]


def of_daemon(d):
    return _grants(d, "What the daemon needs")


def of_decisions(d):
    """Of whoever sends rejects again and posts adjustments."""
    return _grants(d, "What decisions need")
