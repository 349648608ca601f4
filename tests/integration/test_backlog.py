"""The short form of tests/soak/backlog.py, which by default works off half an hour's records."""

import io
import sys

from conftest import ROOT
from deployment import own_deployment

sys.path.insert(0, str(ROOT / "tests" / "soak"))

import backlog  # noqa: E402


def test_a_backlog_is_taken_up_through_stalls(settled):
    told = io.StringIO()
    # Services of its own, because those of other tests must not be stopped.
    with own_deployment(settled, **backlog.deployment_options()) as (d, kafka, postgres):
        backlog.backlog(d, kafka, postgres, minutes=2, rate=3000, stall=3, out=told)
    print(told.getvalue())
    assert "nothing lost" in told.getvalue()
