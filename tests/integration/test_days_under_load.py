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
    # Clients that come and go are no growth; what stays is.
    days.judge([each._replace(descriptors=40, threads=12) if n % 10 == 5 else each for n, each in enumerate(calm)])
    for field, a_sample in (("descriptors", 1), ("threads", 0.5)):
        leaking = [each._replace(**{field: getattr(each, field) + int(n * a_sample)}) for n, each in enumerate(calm)]
        with pytest.raises(days.Grown, match=field):
            days.judge(leaking)
    with pytest.raises(days.Grown, match="RSS"):
        days.judge(calm[:-1] + [calm[-1]._replace(rss=2 * 10**7)])
