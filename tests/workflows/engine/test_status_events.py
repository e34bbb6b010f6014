"""Status changes reach the rules of the event bus, in the form that AWS documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.events import EventBus
from local.stepfunctions import Engine, FakeClock
from local.stepfunctions.__main__ import event_delivery
from local.stepfunctions.testing import Stubs
from tests.support.machines import fail, machine, text

if TYPE_CHECKING:
    from local.aws import Aws

PATTERN = {
    "source": ["aws.states"],
    "detail-type": ["Step Functions Execution Status Change"],
    "detail": {"status": ["FAILED", "TIMED_OUT", "ABORTED"]},
}


def test_a_rule_on_failed_executions_hears_of_one(aws: Aws) -> None:
    queue = aws.sqs.create_queue(QueueName="engine-status")["QueueUrl"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.events.put_rule(Name="engine-status", EventPattern=json.dumps(PATTERN))
    aws.events.put_targets(Rule="engine-status", Targets=[{"Id": "queue", "Arn": arn}])
    with Engine(Stubs(), clock=FakeClock(), on_status_change=event_delivery(EventBus(aws))) as engine:
        execution = engine.start_execution(engine.create_state_machine("m", text(machine(fail("F")))).arn, name="e")
        engine.wait(execution.arn)
        messages = aws.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    aws.events.remove_targets(Rule="engine-status", Ids=["queue"])
    aws.events.delete_rule(Name="engine-status")
    (event,) = [json.loads(message["Body"]) for message in messages]
    detail: dict[str, Any] = event["detail"]
    assert event["resources"] == [execution.arn]
    assert (detail["status"], detail["error"], detail["cause"]) == ("FAILED", "Broken", "on purpose")
    assert (detail["name"], detail["executionArn"], detail["input"]) == ("e", execution.arn, "{}")
    assert detail["stopDate"] == detail["startDate"] == 1_800_000_000_000
