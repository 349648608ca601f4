"""The short form of tests/soak/days.py, which runs for an hour by itself."""

import io
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "soak"))

import days  # noqa: E402


def test_many_days_under_load_stay_small(deploy):
    told = io.StringIO()
    samples = days.days(deploy(**days.options_of_deployment()), minutes=0.75, rate=300, day_seconds=4, out=told)
    print(told.getvalue())
    assert len(samples) > 50
    assert "calls held" in told.getvalue()


def test_growth_is_found():
    calm = [days.Sample(n, 10**7, 20, 5, 0, n, n, 0) for n in range(30)]
    days.judge(calm)
    for field, grown in (("rss", 2 * 10**7), ("descriptors", 25), ("threads", 8)):
        with pytest.raises(days.Grown):
            days.judge(calm[:-1] + [calm[-1]._replace(**{field: grown})])
