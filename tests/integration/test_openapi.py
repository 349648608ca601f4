"""The API against its description: requests made from schemas/http/openapi.json, right ones and wrong ones. Each answer
must be one that is described there, and none may be a 5xx. SETTLED_OPENAPI_EXAMPLES=1000 makes more of them."""

import json
import os
import re

import hypothesis
import hypothesis.configuration
import psycopg
import schemathesis
import schemathesis.checks
from conftest import ROOT
from test_api import DAYS, HOLDER, filled  # noqa: F401 (a fixture)

EXAMPLES = int(os.environ.get("SETTLED_OPENAPI_EXAMPLES", "12"))  # of each path, of each kind
hypothesis.configuration.set_hypothesis_home_dir(ROOT / "build" / "hypothesis")
api = schemathesis.openapi.from_path(ROOT / "schemas" / "http" / "openapi.json")


# A schema cannot say all that is asked for: that `to` is not before `from`, that a day exists, what a service is billed by.
# What must be accepted stands in test_api.py.
NOT_CHECKED = [schemathesis.checks.positive_data_acceptance]


def check(case, client):
    answer = case.call(base_url=f"http://127.0.0.1:{client.port}", timeout=30)
    case.validate_response(answer, excluded_checks=NOT_CHECKED)
    assert answer.status_code < 500


@api.parametrize()
@hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
def test_answers_are_as_described(case, filled):  # noqa: F811
    check(case, filled[1])


# What is there, so that answers with rows are compared, too.
EXISTING = {"id": HOLDER, "day": DAYS[0], "package": "pack", "month": DAYS[0][:7]}


@api.parametrize()
@hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
def test_rows_are_as_described(case, filled):  # noqa: F811
    case.path_parameters = {name: EXISTING[name] for name in case.path_parameters or {}}
    check(case, filled[1])


def test_positions_are_as_described(filled):  # noqa: F811
    """Where a page ends, the next one may begin, by the description."""
    d, client = filled
    with psycopg.connect(d.dsn) as connection:  # the holder was told of one thing alone
        connection.execute("insert into settled.notices (notice_id, account_id, business_day, kind, balance, threshold, shard, sequence)"
                           " select account_id || '/' || business_day || '/BALANCE_LOW', account_id, business_day, 'BALANCE_LOW', 0, 1,"
                           " shard, sequence + 1000 from settled.notices")
    seen = set()
    for path, row in json.loads((ROOT / "schemas" / "http" / "openapi.json").read_text())["paths"].items():
        schema = next((each["schema"] for each in row["get"].get("parameters", []) if each.get("name") == "after"), None)
        if not schema or path.endswith("/calls"):  # read from the log, not at once
            continue
        position = client.get(path.format(**EXISTING) + "?limit=1")["next"]
        if position is not None:
            seen.add(path)
            assert re.search(schema.get("pattern", r"^\d+$" if schema["type"] == "integer" else "^.+$"), position), (path, position)
    assert {"/v1/accounts/{id}/notices", "/v1/accounts/{id}/settlements", "/v1/accounts/{id}/statement", "/v1/days"} <= seen, seen
