import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from jsonschema import ValidationError
from typer.main import get_command

from deconvbench.cli.app import app
from deconvbench.records.case import CASE_FIELDS
from tests.json_schemas import FOLDER, check_output, load_validator

KINDS = sorted(path.name.removesuffix(".json") for path in FOLDER.iterdir() if path.name.endswith(".json"))


def list_commands() -> Iterator[str]:
    """Commands that have --json."""
    group: Any = get_command(app)
    for name, command in group.commands.items():
        if any("--json" in parameter.opts for parameter in command.params):
            yield name


def test_every_command_with_json_has_a_schema_and_no_schema_is_left_over() -> None:
    # `grid --upsamplers` and `recommend --for` print objects of other kinds
    assert sorted([*list_commands(), "upsamplers", "recommend-for"]) == KINDS
    assert isinstance(app, typer.Typer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_says_what_each_field_means(kind: str) -> None:
    schema = load_validator(kind).schema
    assert schema["properties"]["kind"] == {"const": kind, "description": "the command"}
    assert {"schema_version", "kind", "rows"} <= {*schema["required"]}
    row = schema["properties"]["rows"]["items"]
    assert all(field.get("description") for field in row["properties"].values())
    assert all(field.get("description") for field in schema["properties"].values())


def test_a_row_that_lacks_a_field_or_has_another_is_refused() -> None:
    names = {"case_id": "a", "metric": "latency_s", "verdict": "same", "reason": ""}
    row: dict[str, Any] = {**names, "ratio": 1.0, "low": None, "high": None}
    document = {"schema_version": 1, "kind": "compare", "rows": [row]}
    check_output(json.dumps(document))
    for changed in ({**row, "new": 1}, {**row, "ratio": "1"}, {**row, "verdict": "slow"}, {"case_id": "a"}):
        with pytest.raises(ValidationError):
            check_output(json.dumps({**document, "rows": [changed]}))
    with pytest.raises(ValidationError):
        check_output(json.dumps({**document, "kind": "compare", "schema_version": 2}))


def test_the_axes_of_a_case_are_those_of_the_package() -> None:
    row = load_validator("grid").schema["properties"]["rows"]["items"]
    assert list(row["properties"]) == [*CASE_FIELDS, "case_id"]
