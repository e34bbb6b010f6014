"""Options of the engine's tests: `pytest tests/workflows/engine/conformance --target aws` (local/stepfunctions/README.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance of Step Functions")
    group.addoption("--target", choices=("local", "aws"), default="local", help="where the table of behaviours runs")
    group.addoption("--machine-role-arn", help="of aws: a role for state machines; may invoke functions, start executions")
    group.addoption("--function-role-arn", help="of aws: a role for a Lambda function that needs no rights")
