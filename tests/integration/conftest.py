"""What all tests here use: services that tests/run.sh (or tests/lib/services.py run) has started, and a build.

A missing service is a failure, not a skip."""

import os
import pathlib
import sys
import uuid

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from deployment import Deployment  # noqa: E402


def _from_environment(name):
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: run tests/run.sh, or "
                    "tests/lib/services.py run --kafka --registry --postgres -- build/venv/bin/pytest -c tests/pytest.ini")
    return value


@pytest.fixture(scope="session")
def settled():
    """The path of the program: that of the release build, or SETTLED_BINARY."""
    path = pathlib.Path(os.environ.get("SETTLED_BINARY", ROOT / "build" / "release" / "settled"))
    if not path.exists():
        pytest.fail(f"{path} is not built: cmake --preset release && cmake --build --preset release")
    return path


@pytest.fixture(scope="session")
def brokers():
    return _from_environment("SETTLED_TEST_BROKERS")


@pytest.fixture(scope="session")
def registry():
    return _from_environment("SETTLED_TEST_REGISTRY")


@pytest.fixture
def dsn():
    """A database of this test's own."""
    superuser = _from_environment("SETTLED_TEST_DSN")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield superuser.rpartition("/")[0] + "/" + name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def place(tmp_path):
    """A folder that PostgreSQL's user may enter: pytest's own folders are closed to other users."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != pathlib.Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
        if folder.name.startswith("pytest-of-"):
            break
    return tmp_path


@pytest.fixture
def deploy(settled, brokers, dsn, tmp_path):
    """Makes deployments, on this test's database unless another is given; processes that still run at the end are
    killed."""
    made = []

    def make(**options):
        made.append(Deployment(settled, options.pop("brokers", brokers), options.pop("dsn", dsn), tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def pytest_collection_modifyitems(items):
    """schemathesis gives its cases of all paths one id, of which pytest-xdist would run one."""
    for item in items:
        if getattr(item, "operation_label", None) and item.id.params is None:
            item._id = item.id.with_params(item.operation_label)
