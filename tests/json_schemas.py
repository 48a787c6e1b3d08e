"""Checks what a command prints against the schema that is shipped for it."""

import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

FOLDER = files("deconvbench").joinpath("schemas")


def load_validator(kind: str) -> Draft202012Validator:
    schema = json.loads(FOLDER.joinpath(f"{kind}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_output(text: str) -> dict[str, Any]:
    """Return the one object that was printed; it is of the schema of its kind."""
    document: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    load_validator(document["kind"]).validate(document)
    return document
