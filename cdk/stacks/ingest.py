"""The ingest stack: from the objects and messages of the edges to a verdict on each association.

    inbound queue of an edge -> StartExecution -> machine `ingest` -> its Lambdas, and machine `import` for each part
    machine `ingest` changes status -> EventBridge -> FollowExecution -> topic of failures
    every minute -> WatchExecutions; every 5 minutes -> WatchEdges; every 15 minutes -> Sweep
    queue `external` of the bucket's events -> IndexExternal
    an edge that asks what was imported -> the function that answers it, and no other edge

Grants are written here, where both ends are in sight, and name what the code calls. The bucket, and the queue `external`
of its events, are the storage stack's; the database and MigrateCatalog are the catalog stack's.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from aws_cdk import CfnOutput, Duration, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

import workflows
from cdk.acknowledged import acknowledge_wildcards
from cdk.bundle import Bundle
from cdk.components.function import BundleFunction
from cdk.components.machine import Machine, executions_arn, machine_arn, machine_name
from cdk.components.queues import DeadLetterQueue, Inbound, QueueNames
from cdk.components.topic import grant_publish, make_topic
from cdk.config import Config
from cdk.stacks.catalog import CatalogStack
from cdk.stacks.imaging import ImagingStack
from cdk.stacks.storage import StorageStack
from contract.keys import EXTERNAL_PREFIX, IMPORTS_PREFIX, INSTANCES_PREFIX, MANIFESTS_PREFIX, RETRIES_PREFIX, STATUS_PREFIX

_ENDINGS = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


class _Kind(NamedTuple):
    """`share`: of the concurrency that the catalog's connections allow, in proportion; 0 for a function that needs none."""

    timeout: Duration
    memory_mebibytes: int
    share: int = 1


_SHORT = _Kind(Duration.seconds(120), 512)
_FUNCTIONS = {
    "StartExecution": _Kind(Duration.seconds(20), 256, share=0),
    "RegisterAssociation": _SHORT,
    "IndexObjects": _Kind(Duration.seconds(300), 1024, share=10),
    "IndexExternal": _Kind(Duration.seconds(300), 1024, share=2),
    "ClaimImport": _SHORT,
    "StageCopies": _Kind(Duration.seconds(600), 512),
    "RecordJob": _SHORT,
    "CollectResults": _Kind(Duration.seconds(300), 512),
    "RecordFailure": _SHORT,
    "ReconcileAssociation": _SHORT,
    "FollowExecution": _SHORT,
    "Sweep": _Kind(Duration.seconds(600), 512),
    "WatchEdges": _Kind(Duration.seconds(120), 256, share=0),
    "WatchExecutions": _Kind(Duration.seconds(120), 192),  # of which it needs a half; it waits, and pays for that
}
_ANSWER = _Kind(Duration.seconds(60), 256)
_WATCH_EXECUTIONS_EVERY = Duration.minutes(1)  # the finest that EventBridge has
_WATCH_EDGES_EVERY = Duration.minutes(5)
_SWEEP_EVERY = Duration.minutes(15)
_MESSAGES_PER_BATCH = 10
_BATCHES_AT_ONCE = 5
_EXTERNAL_PER_BATCH = 20
_EXTERNAL_WINDOW = Duration.seconds(1)  # Lambda asks for one from 11 messages a batch
_VISIBILITY_TIMEOUTS = 6  # AWS Lambda guide, "Using Lambda with Amazon SQS": at least six times the function's timeout


class IngestStack(Stack):
    """One environment's ingest. Everything that others must find has a fixed name, and is an output."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        bundle: Bundle,
        storage: StorageStack,
        catalog: CatalogStack,
        imaging: ImagingStack | None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: from DICOM in S3 to image sets in the catalog",
            env=Environment(region=config.region),
        )
        self._config = config
        self._ingest_name, self._import_name = machine_name(config, "ingest"), machine_name(config, "import")
        self._ingest_arn, self._import_arn = machine_arn(self, self._ingest_name), machine_arn(self, self._import_name)

        self._objects, self._catalog = storage.objects, catalog
        self._datastore_id = imaging.datastore_id if imaging else config.imaging.datastore_id
        self._import_role_arn = imaging.import_role_arn if imaging else config.imaging.import_role_arn
        self._failures = make_topic(self, "Failures", topic_name=f"{config.prefix}-failures", key=storage.objects.key)
        self._functions = self._make_functions(bundle)
        self._answers = self._make_answers(bundle)
        self.inbound = {edge: self._make_inbound(edge) for edge in config.edges}
        self._import = self._make_machine("Import", "import")
        self._ingest = self._make_machine("Ingest", "ingest")
        events_names = QueueNames("", f"{config.prefix}-events-dlq")
        self._event_dead_letters = DeadLetterQueue(self, "EventDeadLetters", queue_name=events_names.dead_letters).queue
        self.queues = [events_names, storage.external.names, *(inbound.names for inbound in self.inbound.values())]
        self.functions = [*_FUNCTIONS, *self._answers]
        self._follow_executions()
        self._schedule("Sweep", _SWEEP_EVERY)
        self._schedule("WatchEdges", _WATCH_EDGES_EVERY)
        self._schedule("WatchExecutions", _WATCH_EXECUTIONS_EVERY)
        self._index_external(storage.external)
        self._grant_to_functions()
        self._grant_to_machines()
        self._output()

    def _make_functions(self, bundle: Bundle) -> dict[str, lambda_.Function]:
        environment = self._catalog.environment_of_functions | {
            "INGEST_STATE_MACHINE_ARN": self._ingest_arn,
            "BUCKET_NAME": self._objects.bucket.bucket_name,
            "FAILURES_TOPIC_ARN": self._failures.topic_arn,
            "POWERTOOLS_METRICS_NAMESPACE": self._config.prefix,
            "EDGES": ",".join(self._config.edges),
        }
        if self._config.default_issuers:
            environment["DEFAULT_ISSUERS"] = json.dumps(self._config.default_issuers, sort_keys=True)
        return {
            name: BundleFunction(
                self,
                name,
                config=self._config,
                bundle=bundle,
                environment=environment,
                timeout=kind.timeout,
                memory_mebibytes=kind.memory_mebibytes,
                placement=self._catalog.placement if kind.share else None,
                reserved_concurrency=self._concurrency(kind.share),
            ).function
            for name, kind in _FUNCTIONS.items()
        }

    def _make_answers(self, bundle: Bundle) -> dict[str, lambda_.Function]:
        """A function for each edge that asks, by its name without the prefix. Whom it answers is in its environment."""
        environment = self._catalog.environment_of_functions | {"POWERTOOLS_METRICS_NAMESPACE": self._config.prefix}
        return {
            f"answer-{edge}": BundleFunction(
                self,
                f"answer-{edge}",
                config=self._config,
                bundle=bundle,
                environment=environment | {"EDGE_ID": edge},
                timeout=_ANSWER.timeout,
                memory_mebibytes=_ANSWER.memory_mebibytes,
                placement=self._catalog.placement,
                reserved_concurrency=self._concurrency(_ANSWER.share),
                handler="AnswerEdge",
            ).function
            for edge in self._config.answered_edges
        }

    def _concurrency(self, share: int) -> int | None:
        shares = sum(kind.share for kind in _FUNCTIONS.values()) + _ANSWER.share * len(self._config.answered_edges)
        at_once = self._config.catalog_concurrency
        return at_once * share // shares if share and at_once >= shares else None

    def _at_most_reserved(self, at_once: int, function: str) -> int:
        """`at_once`, or how many of a function are reserved where these are fewer: more would only be throttled."""
        return min(at_once, self._concurrency(_FUNCTIONS[function].share) or at_once)

    def _make_inbound(self, edge: str) -> Inbound:
        inbound = Inbound(
            self,
            f"Inbound{_pascal(edge)}",
            queue_name=f"{self._config.prefix}-inbound-{edge}",
            visibility_timeout=Duration.seconds(_VISIBILITY_TIMEOUTS * _FUNCTIONS["StartExecution"].timeout.to_seconds()),
        )
        self._functions["StartExecution"].add_event_source(  # grants receive and delete on the queue, too
            sources.SqsEventSource(
                inbound.queue,
                batch_size=_MESSAGES_PER_BATCH,
                max_concurrency=_BATCHES_AT_ONCE,
                report_batch_item_failures=True,
            )
        )
        return inbound

    def _make_machine(self, construct_id: str, machine: str) -> Machine:
        values = {f"{function}Function": made.function_arn for function, made in self._functions.items()} | {
            "ImportStateMachineArn": self._import_arn,
            "DatastoreId": self._datastore_id,
            "ImportRoleArn": self._import_role_arn,
            "PollFirstSeconds": str(self._config.polling.first_seconds),
            "PollCapSeconds": str(self._config.polling.cap_seconds),
            "SlicesAtOnce": str(self._at_most_reserved(self._config.catalog.slices_at_once, "IndexObjects")),
        }
        substitutions = {placeholder: values[placeholder] for placeholder in sorted(workflows.placeholders(machine))}
        return Machine(self, construct_id, config=self._config, machine=machine, substitutions=substitutions)

    def _follow_executions(self) -> None:
        """Best effort, as Step Functions tells of its executions: the code asks it for the truth, failures are kept, and
        WatchExecutions sees what was lost."""
        follow = self._functions["FollowExecution"]
        follow.configure_async_invoke(
            on_failure=destinations.SqsDestination(self._event_dead_letters), retry_attempts=2, max_event_age=Duration.hours(6)
        )
        events.Rule(
            self,
            "ExecutionChanged",
            rule_name=f"{self._config.prefix}-execution-changed",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [self._ingest_arn], "status": list(_ENDINGS)},
            ),
            targets=[targets.LambdaFunction(follow, dead_letter_queue=self._event_dead_letters, retry_attempts=10)],
        )

    def _schedule(self, function: str, every: Duration) -> None:
        """Without retries, since the next run is soon; what failed is kept, but for what runs each minute anyway."""
        scheduled = self._functions[function]
        kept = None if every == _WATCH_EXECUTIONS_EVERY else destinations.SqsDestination(self._event_dead_letters)
        scheduled.configure_async_invoke(on_failure=kept, retry_attempts=0, max_event_age=every)
        events.Rule(
            self,
            f"{function}Due",
            rule_name=f"{self._config.prefix}-{function.lower()}",
            schedule=events.Schedule.rate(every),
            targets=[targets.LambdaFunction(scheduled, dead_letter_queue=self._event_dead_letters, retry_attempts=0)],
        )

    def _index_external(self, external: Inbound) -> None:
        self._functions["IndexExternal"].add_event_source(
            sources.SqsEventSource(
                external.queue,
                batch_size=_EXTERNAL_PER_BATCH,
                max_batching_window=_EXTERNAL_WINDOW,
                max_concurrency=self._at_most_reserved(_BATCHES_AT_ONCE, "IndexExternal"),  # more is throttled, and then dead
                report_batch_item_failures=True,
            )
        )

    def _grant_to_functions(self) -> None:
        functions = self._functions
        for name, kind in _FUNCTIONS.items():
            if kind.share:
                self._catalog.grant_connect(functions[name])
        for answer in self._answers.values():
            self._catalog.grant_connect(answer)
        self._objects.grant_read(functions["RegisterAssociation"], MANIFESTS_PREFIX)
        self._objects.grant_read(functions["IndexObjects"], MANIFESTS_PREFIX, INSTANCES_PREFIX)
        self._objects.grant_read(functions["IndexExternal"], EXTERNAL_PREFIX, versions=True)
        self._objects.grant_read(functions["ClaimImport"], MANIFESTS_PREFIX)
        self._objects.grant_read(functions["StageCopies"], INSTANCES_PREFIX)
        self._objects.grant_write(functions["StageCopies"], RETRIES_PREFIX)
        self._objects.grant_read(functions["CollectResults"], MANIFESTS_PREFIX, IMPORTS_PREFIX)
        self._objects.grant_read(functions["Sweep"], MANIFESTS_PREFIX)  # and to list, which is for all prefixes
        self._objects.grant_read(functions["WatchEdges"], STATUS_PREFIX)
        start_executions = iam.PolicyStatement(actions=["states:StartExecution"], resources=[self._ingest_arn])
        functions["StartExecution"].add_to_role_policy(start_executions)
        functions["Sweep"].add_to_role_policy(start_executions)
        executions = executions_arn(self, self._ingest_name)
        describe_executions = iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[executions])
        for name in ("RegisterAssociation", "FollowExecution", "Sweep", "WatchExecutions"):
            functions[name].add_to_role_policy(describe_executions)
        functions["WatchExecutions"].add_to_role_policy(
            iam.PolicyStatement(actions=["states:ListExecutions"], resources=[self._ingest_arn])
        )
        for name in ("FollowExecution", "Sweep", "WatchExecutions"):
            grant_publish(self._failures, functions[name], key=self._objects.key)

    def _grant_to_machines(self) -> None:
        ingest, import_ = self._ingest.role, self._import.role
        self._grant_invoke(ingest, "ingest")
        self._grant_invoke(import_, "import")
        # What `.sync:2` needs (Step Functions guide, "IAM policies for nested workflows").
        ingest.add_to_policy(iam.PolicyStatement(actions=["states:StartExecution"], resources=[self._import_arn]))
        children = executions_arn(self, self._import_name)
        ingest.add_to_policy(
            iam.PolicyStatement(actions=["states:DescribeExecution", "states:StopExecution"], resources=[children])
        )
        acknowledge_wildcards(
            self, [children, executions_arn(self, self._ingest_name)], "Executions have names of their own, one each."
        )
        sync_rule = self.format_arn(
            service="events", resource="rule", resource_name="StepFunctionsGetEventsForStepFunctionsExecutionRule"
        )
        ingest.add_to_policy(
            iam.PolicyStatement(actions=["events:PutTargets", "events:PutRule", "events:DescribeRule"], resources=[sync_rule])
        )
        datastore = self.format_arn(service="medical-imaging", resource="datastore", resource_name=self._datastore_id)
        import_.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "medical-imaging:StartDICOMImportJob",
                    "medical-imaging:GetDICOMImportJob",
                    "medical-imaging:ListDICOMImportJobs",
                ],
                resources=[datastore],
            )
        )
        import_.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self._import_role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "medical-imaging.amazonaws.com"}},
            )
        )

    def _grant_invoke(self, role: iam.Role, machine: str) -> None:
        used = [
            function.function_arn
            for name, function in self._functions.items()
            if f"{name}Function" in workflows.placeholders(machine)
        ]
        role.add_to_policy(iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=used))

    def _output(self) -> None:
        outputs = {
            "IngestStateMachineArn": self._ingest_arn,
            "ImportStateMachineArn": self._import_arn,
            "DatastoreId": self._datastore_id,
            "FailuresTopicArn": self._failures.topic_arn,
            "EventDeadLettersUrl": self._event_dead_letters.queue_url,
        }
        for edge, inbound in self.inbound.items():
            outputs[f"Inbound{_pascal(edge)}Url"] = inbound.queue.queue_url
            outputs[f"Inbound{_pascal(edge)}DeadLettersUrl"] = inbound.dead_letters.queue_url
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _pascal(edge: str) -> str:
    return "".join(word.capitalize() for word in edge.split("-"))
