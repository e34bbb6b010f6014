"""The observability stack: alarms, the topic that they are sent to, and the dashboard."""

from __future__ import annotations

from itertools import chain

from aws_cdk import CfnOutput, Environment, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from cdk.components import alarms
from cdk.components.dashboard import make_dashboard
from cdk.components.queues import QueueNames
from cdk.components.topic import let_alarms_publish, make_topic
from cdk.config import Config


class ObservabilityStack(Stack):
    """One environment's observability."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, queues: list[QueueNames], key: kms.IKey | None
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: alarms, and the dashboard",
            env=Environment(region=config.region),
        )
        topic = make_topic(self, "Alarms", topic_name=f"{config.prefix}-alarms", key=key)
        let_alarms_publish(topic, account=self.account)
        if config.operations.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(config.operations.alarm_email))
        made: list[cloudwatch.IAlarm] = []
        for spec in chain(
            alarms.of_executions(self, config),
            alarms.of_associations(config),
            alarms.of_edges(config),
            alarms.of_queues(queues),
            alarms.of_functions(config),
            alarms.of_catalog(config),
        ):
            alarm = cloudwatch.Alarm(
                self,
                f"Alarm-{spec.name}",
                alarm_name=f"{config.prefix}-{spec.name.removeprefix(f'{config.prefix}-')}",
                alarm_description=spec.says,
                metric=spec.metric,
                threshold=spec.threshold,
                evaluation_periods=spec.periods,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                treat_missing_data=spec.missing,
            )
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))
            made.append(alarm)
        make_dashboard(self, config, made)
        CfnOutput(self, "AlarmsTopicArn", value=topic.topic_arn)
