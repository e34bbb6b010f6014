"""The app: which stacks an environment has."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App

from cdk.acknowledged import acknowledge
from cdk.bundle import Bundle, build
from cdk.config import Config
from cdk.stacks.catalog import CatalogStack
from cdk.stacks.edge import EdgeStack
from cdk.stacks.imaging import ImagingStack
from cdk.stacks.ingest import IngestStack
from cdk.stacks.network import NetworkStack
from cdk.stacks.observability import ObservabilityStack
from cdk.stacks.queries import QueriesStack
from cdk.stacks.storage import StorageStack

# Behaviour of the library that new projects should take. Here rather than in cdk.json, so that every way of synthesizing
# gives the same template.
_FEATURE_FLAGS = {
    "@aws-cdk/aws-ec2:uniqueImdsv2TemplateName": True,  # or two EC2 edges' launch templates have one name
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-lambda:useCdkManagedLogGroup": True,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    "@aws-cdk/core:target-partitions": ["aws"],
    "@aws-cdk/core:validateAgainstDefaultRules": True,
    "aws-cdk-lib/aws-events-targets:eventsTargetQueueSameAccount": True,
}


def make_app(config: Config, *, output: Path | None = None, bundle: Bundle | None = None) -> App:
    """The app of one environment, to be synthesized to `output` (the CDK CLI's choice when there is none)."""
    app = App(outdir=str(output) if output else None, analytics_reporting=False, context=_FEATURE_FLAGS)
    bundle = bundle or build(config.lambda_platform, ca_file=config.catalog.ca_file)
    network = NetworkStack(app, f"{config.prefix}-network", config=config) if config.network.vpc != "none" else None
    storage = StorageStack(app, f"{config.prefix}-storage", config=config)
    catalog = CatalogStack(app, f"{config.prefix}-catalog", config=config, bundle=bundle, network=network)
    given = config.imaging.datastore_id and config.imaging.import_role_arn
    imaging = None if given else ImagingStack(app, f"{config.prefix}-imaging", config=config, objects=storage.objects)
    ingest = IngestStack(
        app,
        f"{config.prefix}-ingest",
        config=config,
        bundle=bundle,
        storage=storage,
        catalog=catalog,
        imaging=imaging,
    )
    observability = ObservabilityStack(
        app, f"{config.prefix}-observability", config=config, queues=ingest.queues, key=storage.objects.key
    )
    observability.add_stack_dependency(ingest)
    if config.operations.saved_queries:
        queries = QueriesStack(app, f"{config.prefix}-queries", config=config, functions=ingest.functions)
        queries.add_stack_dependency(ingest)
    for edge, inbound in ingest.inbound.items():
        EdgeStack(
            app,
            f"{config.prefix}-edge-{edge}",
            config=config,
            edge=edge,
            storage=storage,
            inbound=inbound,
            network=network,
        )
    acknowledge(app, config)
    return app
