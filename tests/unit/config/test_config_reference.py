"""The reference and the JSON schema are what the schema says."""

import json
from pathlib import Path

import pytest

from edgewise.config import parse
from edgewise.config.reference import EXAMPLE, field_docs, json_schema, main, markdown
from edgewise.config.schema import Config, Model

DOCS = Path(__file__).parents[3] / "docs"


def models(model: type[Model] = Model) -> list[type[Model]]:
    return [found for child in model.__subclasses__() for found in [child, *models(child)]]


def test_the_committed_reference_is_the_generated_one() -> None:
    assert (DOCS / "configuration.md").read_text() == markdown()


def test_the_committed_json_schema_is_the_generated_one() -> None:
    assert (DOCS / "edgewise.schema.json").read_text() == json_schema()


def test_generating_writes_both_files(tmp_path: Path) -> None:
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"configuration.md", "edgewise.schema.json"}


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_key_of_every_table_is_explained(model: type[Model]) -> None:
    assert set(field_docs(model)) == set(model.model_fields)
    assert all(text.endswith(".") for text in field_docs(model).values())


def test_every_table_stands_in_the_reference_and_in_the_json_schema() -> None:
    described = set(json.loads(json_schema())["$defs"])
    assert {model.__name__ for model in models()} - {Config.__name__} == described


def test_the_example_of_the_reference_is_valid() -> None:
    assert len(parse(EXAMPLE).routes) == 2
