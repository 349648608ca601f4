"""The short form of tests/soak/years.py: years of two months each. With SETTLED_LONG they are whole years."""

import os
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "soak"))

import years  # noqa: E402

FIRST_DAY = "2023-01-10"  # so that no day that is measured ends a month: such a day has the statements too


def test_age_costs_nothing(deploy):
    days = 365 if os.environ.get("SETTLED_LONG") else 60
    told = years.years(deploy(**years.options_of_deployment(FIRST_DAY)), FIRST_DAY, 3, days)
    assert all(cost["audit of a day"].rows > 0 and cost["restart"].months for cost in told)
