"""The short form of tests/soak/backlog.py, which by itself takes up half an hour's worth."""

import io
import sys

import pytest
from conftest import ROOT
from services import Services

sys.path.insert(0, str(ROOT / "tests" / "soak"))

import backlog  # noqa: E402


@pytest.fixture(scope="module")
def own():
    """Services that stand still hold up no other test."""
    with Services() as services:
        postgres, kafka = services.postgres(start=False), services.kafka(start=False)
        services.start()
        yield postgres, kafka


def test_a_backlog_is_taken_up_through_stalls(deploy, own):
    postgres, kafka = own
    told = io.StringIO()
    d = deploy(brokers=kafka.brokers, dsn=postgres.dsn, **backlog.deployment_options())
    backlog.backlog(d, kafka, postgres, minutes=2, rate=3000, stall=3, out=told)
    print(told.getvalue())
    assert "nothing lost" in told.getvalue()
