"""The endpoint of a real daemon against its own description: nothing that may be sent surprises it.

Schemathesis makes requests from `/openapi.json`, good ones and bad ones, and holds every answer against it:
no status that is not described, no body of another shape or type, no fault of ours.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from freshd.http.schemas import MAX_HELD_S
from tests.daemon.instance import Instance, instance

EXAMPLES = 25
LONGEST_HELD_S = 0.2


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance(tmp_path_factory.mktemp("fuzzed")) as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.start()
        made.settled()
        yield made


@pytest.fixture(scope="module")
def api(one: Instance) -> Any:
    assert one.record is not None
    config = SchemathesisConfig.from_dict(
        {
            # A cache or a proxy may add a parameter that nobody here knows.
            "generation": {"allow-extra-parameters": False},
            "checks": {
                # No description can say which sources there are.
                "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422", "503"]},
                "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "413", "415", "422", "503"]},
            },
        }
    )
    schema = schemathesis.openapi.from_url(f"http://{one.record.address}/openapi.json", config=config)
    # It makes the folder that it is told to, wherever that is.
    return schema.exclude(path="/backup")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_made_from_the_description_surprises_the_daemon(
    mode: GenerationMode, api: Any, one: Instance, subtests: pytest.Subtests
):
    for operation in (found.ok() for found in api.get_all_operations()):
        if mode is GenerationMode.NEGATIVE and not (operation.query or operation.path_parameters or operation.body):
            continue  # nothing can be wrong about it
        with subtests.test(operation.label):
            attempt(operation, mode, one)
    assert one.process.poll() is None
    assert one.events("request_failed") == []
    assert one.events("job_failed") == []


def attempt(operation: Any, mode: GenerationMode, one: Instance) -> None:
    assert one.record is not None
    authorization = {"Authorization": f"Bearer {one.record.token}"}

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def send(case: Any) -> None:
        # A request that is held, or waits, does what it is told; for minutes, if it is told so.
        held_s = case.query.get("wait") if isinstance(case.query, dict) else None
        assume(not isinstance(held_s, list))  # one number in a list is spelled like a number
        if isinstance(held_s, int | float) and held_s <= MAX_HELD_S:
            case.query["wait"] = min(held_s, LONGEST_HELD_S)
        case.call_and_validate(headers=authorization, timeout=30)

    send()
