"""The target of the conformance suite, and what an AWS account needs to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from tests.workflows.engine.conformance.targets import AnAccount, OurEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.workflows.engine.conformance.targets import Target


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    option = request.config.getoption
    if option("--target", default="local") == "local":
        yield OurEngine()
        return
    roles = {name: option(name) for name in ("--machine-role-arn", "--function-role-arn")}
    if missing := [name for name, arn in roles.items() if not arn]:
        pytest.exit(f"--target aws needs {' and '.join(missing)}")
    with AnAccount(
        stepfunctions=boto3.client("stepfunctions"),
        functions=boto3.client("lambda"),
        machine_role_arn=roles["--machine-role-arn"],
        function_role_arn=roles["--function-role-arn"],
    ) as account:
        yield account
