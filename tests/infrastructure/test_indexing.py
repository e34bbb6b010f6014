"""What indexing is given by its stacks: who issued bare PatientIDs, and the events of external objects."""

from __future__ import annotations

from lambdas.catalog.external import EXTERNAL
from lambdas.logic.issuers import default_issuer, parse_issuers
from tests.infrastructure.conftest import Environment
from tests.infrastructure.test_ingest_stack import functions
from tests.support.templates import text


def test_the_default_issuers_of_edges_and_ae_titles_reach_the_functions_that_index(
    production: Environment, smallest: Environment
) -> None:
    made = functions(production.stacks["ingest"])
    for name in ("IndexObjects", "IndexExternal"):
        issuers = parse_issuers(made[name]["Environment"]["Variables"]["DEFAULT_ISSUERS"])
        assert default_issuer(issuers, "main-campus", "CT_CLINIC") == "CLINIC"
        assert default_issuer(issuers, "main-campus", "CT_1") == "HOSPITAL"
        assert default_issuer(issuers, "clinic-2", "CT_CLINIC") == ""
        assert default_issuer(issuers, EXTERNAL, None) == "ARCHIVE"
    for function in smallest.stacks["ingest"].of("AWS::Lambda::Function").values():
        assert "DEFAULT_ISSUERS" not in function["Properties"]["Environment"]["Variables"]


def test_external_events_come_in_batches_of_20_whose_messages_fail_on_their_own(production: Environment) -> None:
    template = production.stacks["ingest"]
    [source] = [
        one["Properties"]
        for one in template.of("AWS::Lambda::EventSourceMapping").values()
        if "External" in text(one["Properties"]["FunctionName"])
    ]
    assert (source["BatchSize"], source["FunctionResponseTypes"]) == (20, ["ReportBatchItemFailures"])
    assert source["MaximumBatchingWindowInSeconds"] >= 1
    (_, queue) = production.stacks["storage"].one("AWS::SQS::Queue", QueueName="ahi-ingest-prod-external")
    timeout = functions(template)["IndexExternal"]["Timeout"]
    assert queue["Properties"]["VisibilityTimeout"] >= 6 * timeout
