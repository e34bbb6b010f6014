"""The templates keep the rules of CloudFormation (cfn-lint) and of cdk-nag's AwsSolutions and HIPAA.Security.

What is meant to break one of cdk-nag's is in cdk/acknowledged.py with its reason.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cfnlint.api import ManualArgs, lint_file

if TYPE_CHECKING:
    from tests.infrastructure.conftest import Environment

# CDK writes DependsOn beside references that say the same; and the ingest stack's outputs are all that the console needs,
# the data store's id among them, which is another stack's.
IGNORED = ["W3005", "W6001"]
# cfn-lint's schema of state machines takes no JSONata for MaxConcurrency (Step Functions does: guide, "Map state"), and its
# report of that within a branch of a Parallel state fails by this.
NOT_A_FINDING = "sequence item 3: expected str instance, int found"


@pytest.mark.parametrize("name", ["smallest", "production", "brought"])
def test_cdk_nag_finds_nothing_that_is_not_acknowledged(name: str, request: pytest.FixtureRequest) -> None:
    environment: Environment = request.getfixturevalue(name)
    report = json.loads((environment.assembly / "validation-report.json").read_text())
    reports = {one["pluginName"]: one for one in report["pluginReports"]}
    assert reports.keys() >= {"AwsSolutions", "HIPAA.Security"}
    findings = {
        f"{finding['ruleName']} at {construct['constructPath']}"
        for one in reports.values()
        for finding in one.get("violations", [])
        for construct in finding["violatingConstructs"]
    }
    assert findings == set()


@pytest.mark.parametrize("name", ["smallest", "production", "brought"])
def test_cfn_lint_finds_nothing(name: str, request: pytest.FixtureRequest) -> None:
    environment: Environment = request.getfixturevalue(name)
    config = ManualArgs(regions=[environment.config.region], ignore_checks=IGNORED)
    findings = [
        f"{stack}: {finding.rule.id} {finding.message}"
        for stack in environment.stacks
        for finding in lint_file(environment.assembly / f"{environment.config.prefix}-{stack}.template.json", config=config)
        if NOT_A_FINDING not in finding.message
    ]
    assert findings == []
