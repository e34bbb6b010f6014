"""What the emulator demands of requests is what the service's own model demands, operation by operation."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

import local.healthimaging
from local.aws import service_model
from local.healthimaging.datastores import Datastores
from local.healthimaging.errors import ERROR_STATUS, ServiceError
from local.healthimaging.import_jobs import ImportJobs
from local.healthimaging.server import operations
from local.healthimaging.settings import RATES, Settings
from local.healthimaging.validation import DATASTORE_STATUSES, JOB_STATUSES, MAX_PAGE, RULES
from tests.support.healthimaging import ROLE

if TYPE_CHECKING:
    from botocore.model import Shape

MODEL = service_model("medical-imaging")
OPERATIONS = operations(Mock())
README = Path(local.healthimaging.__path__[0], "README.md").read_text(encoding="utf-8")
PAGING = {"maxResults", "nextToken"}
REFUSED = {"importConfiguration", "kmsKeyArn", "lambdaAuthorizerArn", "losslessStorageFormat", "tags"}


def inputs() -> list[tuple[str, str, Shape]]:
    shapes: list[tuple[str, Any]] = [(name, MODEL.operation_model(name).input_shape) for name in OPERATIONS]
    return [(operation, name, member) for operation, shape in shapes if shape for name, member in shape.members.items()]


@pytest.mark.parametrize(("operation", "name", "member"), inputs(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_field_of_a_request_has_the_models_rule(operation: str, name: str, member: Any) -> None:
    if name in REFUSED | {"searchCriteria"}:
        return  # test_fields_that_are_not_emulated_are_refused; TestSearch
    if name in PAGING:
        assert member.metadata.get("max", MAX_PAGE) in {MAX_PAGE, 8192}
    elif member.type_name == "string" and member.enum:
        assert tuple(member.enum) == (JOB_STATUSES if name == "jobStatus" else DATASTORE_STATUSES)
    else:
        rule = RULES[name]
        assert rule.pattern.pattern == member.metadata["pattern"].replace(r"\d", "[0-9]")
        assert rule.min_length == member.metadata.get("min", rule.min_length)
        assert rule.max_length == member.metadata.get("max", rule.max_length)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_the_models_path_a_rate_and_a_line_in_the_readme(operation: str) -> None:
    method, path, _ = OPERATIONS[operation]
    http = MODEL.operation_model(operation).http
    names = {"datastoreId": "datastore", "imageSetId": "image_set", "jobId": "job"}
    expected = http["requestUri"].partition("?")[0]
    for theirs, ours in names.items():
        expected = expected.replace(f"{{{theirs}}}", f"{{{ours}}}")
    assert (method, path) == (http["method"], expected)
    assert operation in RATES
    assert operation in README


def test_fields_that_are_not_emulated_are_refused() -> None:
    jobs = ImportJobs(store=Mock(), runner=Mock(), settings=Settings(), faults=Mock(), now=Mock())
    request = {"dataAccessRoleArn": ROLE, "clientToken": "t", "inputS3Uri": "s3://bucket/", "outputS3Uri": "s3://bucket/"}
    datastores = Datastores(store=Mock(), now=Mock())
    for name in REFUSED:
        act = partial(jobs.start, "d" * 32) if name == "importConfiguration" else datastores.create
        with pytest.raises(ServiceError, match=f"ValidationException: .*{name}"):
            act({**request, name: {}})


def test_every_setting_is_an_option_of_the_readme() -> None:
    for each in fields(Settings):
        option = "--rate" if each.name == "rates" else f"--{each.name.replace('_', '-')}"
        assert f"`{option}" in README


def test_every_error_has_the_models_status() -> None:
    statuses = {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for name in OPERATIONS
        for shape in MODEL.operation_model(name).error_shapes
    }
    assert statuses == ERROR_STATUS
