"""The ingest stack's template: what is kept is safe, what fails is seen, and each role may do what its code calls."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import workflows
from cdk.bundle import Bundle
from cdk.tools import ROOT
from lambdas.handlers.watch_executions import LOOKS, PAUSE_SECONDS
from tests.infrastructure.conftest import PRODUCTION, Environment, synthesize
from tests.support.templates import Template, listed, text

# Actions for which IAM knows no resource: Step Functions needs them to deliver its logs (Step Functions guide, "Logging").
LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
# Nor for these: X-Ray's, and what Lambda itself does to place a function in a VPC.
TRACING = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
MACHINE_TRACING = TRACING | {"xray:GetSamplingRules", "xray:GetSamplingTargets"}
INTERFACES = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
FUNCTIONS = {
    "ClaimImport",
    "CollectResults",
    "FollowExecution",
    "IndexExternal",
    "IndexObjects",
    "ReconcileAssociation",
    "RecordFailure",
    "RecordJob",
    "RegisterAssociation",
    "StageCopies",
    "StartExecution",
    "Sweep",
    "WatchEdges",
    "WatchExecutions",
    "answer-clinic-3",
    "answer-main-campus",
}
BASIC = {"logs:CreateLogStream", "logs:PutLogEvents"} | TRACING
CATALOG = {"rds-db:connect"} | INTERFACES
READ = {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"}
TELL = {"sns:Publish", "kms:GenerateDataKey", "kms:Decrypt"}
DEAD_LETTERS = {"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}
CALLS = {
    "answer-clinic-3": CATALOG,
    "answer-main-campus": CATALOG,
    "ClaimImport": CATALOG | READ,
    "CollectResults": CATALOG | READ,
    "FollowExecution": CATALOG | TELL | DEAD_LETTERS | {"states:DescribeExecution"},
    "IndexExternal": CATALOG
    | READ
    | {
        "s3:GetObjectVersion",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
    },
    "IndexObjects": CATALOG | READ,
    "ReconcileAssociation": CATALOG,
    "RecordFailure": CATALOG,
    "RecordJob": CATALOG,
    "RegisterAssociation": CATALOG | READ | {"states:DescribeExecution"},
    "StageCopies": CATALOG | READ | {"s3:PutObject", "s3:AbortMultipartUpload", "kms:GenerateDataKey"},
    "StartExecution": {
        "states:StartExecution",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
    },
    "WatchEdges": READ | DEAD_LETTERS,
    "WatchExecutions": CATALOG | TELL | {"states:DescribeExecution", "states:ListExecutions"},
    "Sweep": CATALOG | READ | TELL | DEAD_LETTERS | {"states:DescribeExecution", "states:StartExecution"},
}


def functions(template: Template) -> dict[str, dict[str, Any]]:
    found = template.of("AWS::Lambda::Function").values()
    return {one["Properties"]["FunctionName"].removeprefix("ahi-ingest-prod-"): dict(one["Properties"]) for one in found}


def role_of(properties: dict[str, Any], key: str = "Role") -> str:
    logical_id: str = properties[key]["Fn::GetAtt"][0]
    return logical_id


def machines(template: Template, environment: str = "prod") -> dict[str, dict[str, Any]]:
    found = template.of("AWS::StepFunctions::StateMachine").values()
    return {
        one["Properties"]["StateMachineName"].removeprefix(f"ahi-ingest-{environment}-"): dict(one["Properties"])
        for one in found
    }


# State machines


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_every_placeholder_of_a_machine_is_substituted_and_nothing_else(template: Template, machine: str) -> None:
    assert machines(template)[machine]["DefinitionSubstitutions"].keys() == workflows.placeholders(machine)


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_a_machine_is_deployed_as_its_file_says(template: Template, machine: str) -> None:
    assert json.loads(machines(template)[machine]["DefinitionString"]) == json.loads(workflows.definition(machine))


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_a_placeholder_gets_the_function_of_its_name(template: Template, machine: str) -> None:
    for placeholder, value in machines(template)[machine]["DefinitionSubstitutions"].items():
        if placeholder.endswith("Function"):
            function = template.body["Resources"][value["Fn::GetAtt"][0]]
            assert function["Properties"]["FunctionName"] == f"ahi-ingest-prod-{placeholder.removesuffix('Function')}"


def test_the_parent_machine_starts_the_child_by_the_name_it_has(template: Template) -> None:
    arn = text(machines(template)["ingest"]["DefinitionSubstitutions"]["ImportStateMachineArn"])
    assert arn.endswith(f":stateMachine:{machines(template)['import']['StateMachineName']}")


def test_machine_logs_hold_no_input_or_output_of_states(template: Template) -> None:
    for properties in machines(template).values():
        assert properties["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_the_import_machine_may_use_one_data_store_and_pass_one_role_to_healthimaging_alone(
    brought: Environment,
) -> None:
    template, imaging = brought.stacks["ingest"], brought.config.imaging
    role = role_of(machines(template, "mine")["import"], "RoleArn")
    allowed = template.allowed(role)
    for action in ("StartDICOMImportJob", "GetDICOMImportJob", "ListDICOMImportJobs"):
        (resource,) = allowed[f"medical-imaging:{action}"]
        assert resource.endswith(f":datastore/{imaging.datastore_id}")
    assert allowed["iam:PassRole"] == {imaging.import_role_arn}
    (passing,) = [statement for _, statement in template.statements() if statement["Action"] == "iam:PassRole"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "medical-imaging.amazonaws.com"}}


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_a_machine_may_invoke_the_functions_it_names_and_no_others(template: Template, machine: str) -> None:
    properties = machines(template)[machine]
    named = {text(value) for name, value in properties["DefinitionSubstitutions"].items() if name.endswith("Function")}
    assert template.allowed(role_of(properties, "RoleArn"))["lambda:InvokeFunction"] == named


def test_the_parent_machine_may_run_the_child_synchronously(template: Template) -> None:
    allowed = template.allowed(role_of(machines(template)["ingest"], "RoleArn"))
    (child,) = allowed["states:StartExecution"]
    assert child.endswith(":stateMachine:ahi-ingest-prod-import")
    (executions,) = allowed["states:StopExecution"] & allowed["states:DescribeExecution"]
    assert executions.endswith(":execution:ahi-ingest-prod-import:*")
    for action in ("events:PutRule", "events:PutTargets", "events:DescribeRule"):
        (rule,) = allowed[action]
        assert rule.endswith(":rule/StepFunctionsGetEventsForStepFunctionsExecutionRule")


# Functions


def test_there_is_a_function_for_every_handler(template: Template) -> None:
    assert functions(template).keys() == FUNCTIONS


def test_every_handler_is_in_the_code(template: Template) -> None:
    for properties in functions(template).values():
        package, _, name = properties["Handler"].rpartition(".")
        source = ROOT / f"{package.replace('.', '/')}.py"
        assert re.search(rf"^(def {name}\(|{name} = )", source.read_text(), re.MULTILINE), f"no {name} in {source}"


def test_a_function_runs_on_the_architecture_and_python_of_its_bundle(template: Template) -> None:
    for properties in functions(template).values():
        assert (properties["Architectures"], properties["Runtime"]) == (["arm64"], "python3.12")


def test_a_function_ends_before_the_task_that_invokes_it_gives_up(template: Template) -> None:
    timeouts = {name: properties["Timeout"] for name, properties in functions(template).items()}
    invoked = 0
    for machine in workflows.MACHINES:
        for function, seconds in re.findall(
            r'\$\{(\w+)Function\}".*?"TimeoutSeconds": (\d+)', workflows.definition(machine), re.DOTALL
        ):
            assert timeouts[function] < int(seconds)
            invoked += 1
    assert invoked == 8


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_may_do_what_its_code_calls(template: Template, name: str) -> None:
    assert template.allowed(role_of(functions(template)[name])).keys() == BASIC | CALLS[name]


@pytest.mark.parametrize("edge", ["clinic-3", "main-campus"])
def test_a_function_that_answers_an_edge_knows_which_and_no_question_can_name_another(template: Template, edge: str) -> None:
    properties = functions(template)[f"answer-{edge}"]
    assert properties["Handler"] == "lambdas.handlers.answer_edge.handler"
    assert properties["Environment"]["Variables"]["EDGE_ID"] == edge


def test_a_function_reads_only_the_prefixes_it_needs(template: Template) -> None:
    def prefixes(name: str) -> set[str]:
        objects = template.allowed(role_of(functions(template)[name]))["s3:GetObject"]
        return {one.partition("eu-west-1/")[2] for one in objects}

    assert prefixes("RegisterAssociation") == {"manifests/*"}
    assert prefixes("IndexObjects") == {"instances/*", "manifests/*"}
    assert prefixes("ClaimImport") == {"manifests/*"}
    assert prefixes("CollectResults") == {"imports/*", "manifests/*"}
    assert prefixes("StageCopies") == {"instances/*"}
    assert prefixes("Sweep") == {"manifests/*"}
    assert prefixes("WatchEdges") == {"status/*"}


def test_copies_for_another_attempt_are_all_that_a_function_writes_into_the_bucket(template: Template) -> None:
    written = {
        one.partition("eu-west-1/")[2]
        for properties in functions(template).values()
        for one in template.allowed(role_of(properties)).get("s3:PutObject", set())
    }
    assert written == {"retries/*"}


def test_no_two_functions_share_a_role(template: Template) -> None:
    roles = [role_of(properties) for properties in functions(template).values()]
    assert len(set(roles)) == len(roles)


def test_no_role_may_act_on_everything(template: Template) -> None:
    for policy, statement in template.statements():
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= LOG_DELIVERY | MACHINE_TRACING | INTERFACES, policy
    assert all("ManagedPolicyArns" not in role["Properties"] for role in template.of("AWS::IAM::Role").values())


def test_no_statement_allows_a_whole_service(template: Template) -> None:
    assert not [action for _, statement in template.statements() for action in listed(statement["Action"]) if "*" in action]


# Queues and events


def test_every_queue_has_a_queue_for_its_failures_or_is_one(template: Template) -> None:
    queues = template.of("AWS::SQS::Queue")
    sources = {name: one["Properties"]["RedrivePolicy"] for name, one in queues.items() if "RedrivePolicy" in one["Properties"]}
    assert len(sources) == 3
    assert all(policy["maxReceiveCount"] == 3 for policy in sources.values())
    dead = {policy["deadLetterTargetArn"]["Fn::GetAtt"][0] for policy in sources.values()}
    (events,) = queues.keys() - sources.keys() - dead
    assert queues[events]["Properties"]["QueueName"] == "ahi-ingest-prod-events-dlq"


def test_each_edge_has_an_inbound_queue_of_its_own_by_a_fixed_name(template: Template) -> None:
    for edge in ("main-campus", "clinic-2"):
        queue, _ = template.one("AWS::SQS::Queue", QueueName=f"ahi-ingest-prod-inbound-{edge}")
        template.one("AWS::SQS::Queue", QueueName=f"ahi-ingest-prod-inbound-{edge}-dlq")
        _, mapping = template.one("AWS::Lambda::EventSourceMapping", EventSourceArn=f"{{{queue}.Arn}}")
        assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["Properties"]["BatchSize"] == 10
        assert mapping["Properties"]["ScalingConfig"] == {"MaximumConcurrency": 5}


def test_a_message_is_not_seen_again_while_its_batch_may_still_run(template: Template) -> None:
    timeout = functions(template)["StartExecution"]["Timeout"]
    for queue in template.of("AWS::SQS::Queue").values():
        if "RedrivePolicy" in queue["Properties"]:
            assert queue["Properties"]["VisibilityTimeout"] >= 6 * timeout


def test_changes_of_the_ingest_machine_alone_are_followed_and_their_failures_kept(template: Template) -> None:
    _, rule = template.one("AWS::Events::Rule", Name="ahi-ingest-prod-execution-changed")
    pattern = rule["Properties"]["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail-type"] == ["Step Functions Execution Status Change"]
    assert text(pattern["detail"]["stateMachineArn"][0]).endswith(":stateMachine:ahi-ingest-prod-ingest")
    assert set(pattern["detail"]["status"]) == {"RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
    dead_letters, _ = template.one("AWS::SQS::Queue", QueueName="ahi-ingest-prod-events-dlq")
    (target,) = rule["Properties"]["Targets"]
    function = template.body["Resources"][target["Arn"]["Fn::GetAtt"][0]]["Properties"]["FunctionName"]
    assert function == "ahi-ingest-prod-FollowExecution"
    assert text(target["DeadLetterConfig"]["Arn"]) == f"{{{dead_letters}.Arn}}"
    invocations = template.of("AWS::Lambda::EventInvokeConfig").values()
    kept = [one["Properties"]["DestinationConfig"] for one in invocations if "DestinationConfig" in one["Properties"]]
    assert (len(kept), len(invocations)) == (3, 4)  # what runs each minute anyway is not kept
    assert {text(one["OnFailure"]["Destination"]) for one in kept} == {f"{{{dead_letters}.Arn}}"}


def test_every_target_of_a_rule_keeps_the_events_that_it_could_not_take(template: Template) -> None:
    for rule in template.of("AWS::Events::Rule").values():
        assert all("DeadLetterConfig" in target for target in rule["Properties"]["Targets"])


def test_the_sweep_runs_every_quarter_of_an_hour_on_the_bucket_and_the_machine(template: Template) -> None:
    _, rule = template.one("AWS::Events::Rule", Name="ahi-ingest-prod-sweep")
    assert rule["Properties"]["ScheduleExpression"] == "rate(15 minutes)"
    (target,) = rule["Properties"]["Targets"]
    properties = template.body["Resources"][target["Arn"]["Fn::GetAtt"][0]]["Properties"]
    assert properties["FunctionName"] == "ahi-ingest-prod-Sweep"
    assert {"BUCKET_NAME", "INGEST_STATE_MACHINE_ARN"} <= properties["Environment"]["Variables"].keys()


def test_executions_whose_events_were_lost_are_looked_for_all_the_time_at_the_ingest_machine(template: Template) -> None:
    _, rule = template.one("AWS::Events::Rule", Name="ahi-ingest-prod-watchexecutions")
    assert rule["Properties"]["ScheduleExpression"] == "rate(1 minute)"
    (target,) = rule["Properties"]["Targets"]
    properties = template.body["Resources"][target["Arn"]["Fn::GetAtt"][0]]["Properties"]
    assert properties["FunctionName"] == "ahi-ingest-prod-WatchExecutions"
    assert 60 - LOOKS * PAUSE_SECONDS < PAUSE_SECONDS, "the next invocation goes on where this one ends"
    assert properties["Timeout"] > LOOKS * PAUSE_SECONDS
    (machine,) = template.allowed(role_of(properties))["states:ListExecutions"]
    assert machine.endswith(":stateMachine:ahi-ingest-prod-ingest")


def test_what_ended_badly_is_told_to_one_topic_which_plain_http_cannot_reach(template: Template) -> None:
    topic, _ = template.one("AWS::SNS::Topic", TopicName="ahi-ingest-prod-failures")
    for name in ("FollowExecution", "Sweep", "WatchExecutions"):
        properties = functions(template)[name]
        assert template.allowed(role_of(properties))["sns:Publish"] == {f"{{{topic}}}"}
        assert properties["Environment"]["Variables"]["FAILURES_TOPIC_ARN"] == {"Ref": topic}
    _, policy = template.one("AWS::SNS::TopicPolicy")
    [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


# What is kept


def test_every_queue_is_encrypted(template: Template) -> None:
    assert all(queue["Properties"]["SqsManagedSseEnabled"] is True for queue in template.of("AWS::SQS::Queue").values())


def test_plain_http_is_refused_by_every_bucket_and_queue(template: Template) -> None:
    policies = [*template.of("AWS::S3::BucketPolicy").items(), *template.of("AWS::SQS::QueuePolicy").items()]
    assert len(policies) == len(template.of("AWS::S3::Bucket")) + len(template.of("AWS::SQS::Queue"))
    for name, policy in policies:
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        refused = {"Bool": {"aws:SecureTransport": "false"}}
        assert any(one["Effect"] == "Deny" and one.get("Condition") == refused for one in statements), name


def test_every_function_and_machine_logs_to_a_group_that_forgets_after_a_while(template: Template) -> None:
    groups = template.of("AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS) + len(workflows.MACHINES)
    assert all(group["Properties"]["RetentionInDays"] == 365 for group in groups.values())
    for name, properties in functions(template).items():
        group = groups[properties["LoggingConfig"]["LogGroup"]["Ref"]]
        assert group["Properties"]["LogGroupName"] == f"/aws/lambda/ahi-ingest-prod-{name}"


# Concurrency and place


def test_functions_that_hold_a_connection_never_hold_more_than_the_catalog_takes(production: Environment) -> None:
    template = production.stacks["ingest"]
    reserved = {
        name: properties["ReservedConcurrentExecutions"]
        for name, properties in functions(template).items()
        if "ReservedConcurrentExecutions" in properties
    }
    assert reserved.keys() == FUNCTIONS - {"StartExecution", "WatchEdges"}
    assert sum(reserved.values()) <= production.config.catalog.connections * 4 // 5
    assert reserved["IndexObjects"] == max(reserved.values())


def test_no_more_batches_of_external_objects_run_than_are_reserved(
    production: Environment, bundle: Bundle, certificate_authority: Path, tmp_path: Path
) -> None:
    table = PRODUCTION | {"catalog": PRODUCTION["catalog"] | {"connections": 60}}
    small = synthesize(table, bundle=bundle, certificate_authority=certificate_authority, output=tmp_path)
    for one, expected in ((production, 5), (small, 4)):
        template = one.stacks["ingest"]
        _, mapping = template.one("AWS::Lambda::EventSourceMapping", BatchSize=20)
        assert mapping["Properties"]["ScalingConfig"] == {"MaximumConcurrency": expected}
        assert expected <= functions(template)["IndexExternal"]["ReservedConcurrentExecutions"]


@pytest.mark.parametrize(
    ("settings", "expected"), [({"connections": 60}, 20), ({"slices_at_once": 6}, 6), ({"connections": 0}, 40)]
)
def test_an_association_is_indexed_by_no_more_functions_than_are_reserved(
    settings: dict[str, int], expected: int, bundle: Bundle, certificate_authority: Path, tmp_path: Path
) -> None:
    table = PRODUCTION | {"catalog": PRODUCTION["catalog"] | settings}
    template = synthesize(table, bundle=bundle, certificate_authority=certificate_authority, output=tmp_path).stacks["ingest"]
    assert machines(template)["ingest"]["DefinitionSubstitutions"]["SlicesAtOnce"] == str(expected)
    reserved = functions(template)["IndexObjects"].get("ReservedConcurrentExecutions", 40)
    assert expected <= reserved


def test_functions_that_reach_the_catalog_stand_in_the_vpc(production: Environment) -> None:
    placed = {name for name, properties in functions(production.stacks["ingest"]).items() if "VpcConfig" in properties}
    assert placed == FUNCTIONS - {"StartExecution", "WatchEdges"}


def test_a_functions_own_code_cannot_touch_network_interfaces(template: Template) -> None:
    for name, policy in template.of("AWS::IAM::Policy").items():
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        if any("ec2:CreateNetworkInterface" in listed(one["Action"]) for one in statements):
            (denied,) = [one for one in statements if one["Effect"] == "Deny"]
            assert set(denied["Action"]) == INTERFACES, name
            assert denied["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}
