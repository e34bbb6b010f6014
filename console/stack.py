"""Where the catalog, the bucket, the queues and the machines are: of a running `ahi-ingest up`, or of a stack on AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.errors import StackNotFoundError
from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.queries import Queries, connect

if TYPE_CHECKING:
    from console.aws import Cloud

STACKS = ("storage", "catalog", "ingest")
"""Those of an environment whose outputs the console needs (cdk/app.py)."""
_QUEUE_OUTPUTS = ("Inbound", "EventDeadLetters", "External")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One deployment, and how to reach it. `queues` are URLs."""

    cloud: Cloud
    bucket: str
    queues: tuple[str, ...]
    ingest_machine_arn: str
    import_machine_arn: str
    datastore_id: str
    catalog_settings: CatalogSettings

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution of the machine `ingest`."""
        return f"{self.ingest_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"

    def catalog(self) -> Catalog:
        """A connection of its own, for one thread."""
        return Catalog(lambda: self.catalog_settings)


def endpoints(state: Path) -> dict[str, Any]:
    """The addresses that `ahi-ingest up --state STATE` wrote. Raises StackNotFoundError."""
    path = state / "endpoints.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StackNotFoundError(
            f"{path} is not there. Start the pipeline with `ahi-ingest up --state {state}`, name the state folder of the one "
            "that runs with --state, or a stack on AWS with --stack."
        ) from None
    return document


def find(state: Path, name: str = "") -> Stack:
    """The stacks of the environment `name` on AWS (ahi-ingest-ENVIRONMENT), or without a name the stack that runs on `state`.

    Raises StackNotFoundError, CloudError, and ContractError for a catalog secret of another form.
    """
    return _on_aws(name) if name else _on_this_machine(endpoints(state))


def questions(state: Path, name: str = "") -> Queries:
    """Questions to the catalog of that stack. Raises as `find`."""
    if name:
        return connect(find(state, name).catalog_settings)
    return connect(_local_catalog(endpoints(state)))


def _on_this_machine(document: Mapping[str, Any]) -> Stack:
    from console.aws import Cloud  # noqa: PLC0415 - boto3 is slow to import, and `list` and `show` need none of it

    return Stack(
        cloud=Cloud.of_endpoints(document),
        bucket=document["bucket"],
        queues=tuple(document["queues"].values()),
        ingest_machine_arn=document["state_machines"]["ingest"],
        import_machine_arn=document["state_machines"]["import"],
        datastore_id=document["medical_imaging"]["datastore_id"],
        catalog_settings=_local_catalog(document),
    )


def _local_catalog(document: Mapping[str, Any]) -> CatalogSettings:
    return CatalogSettings(**document["mysql"], tls="off")


def _on_aws(name: str) -> Stack:
    from console.aws import Cloud  # noqa: PLC0415

    cloud = Cloud.of_environment()
    names = [f"{name}-{part}" for part in STACKS]  # and no others: there may be an environment `prod`, and one `prod-eu`
    outputs = cloud.stack_outputs(names)
    if not outputs:
        raise StackNotFoundError(f"There is none of the stacks {', '.join(names)} in this account and region.")
    try:
        return Stack(
            cloud=cloud,
            bucket=outputs["BucketName"],
            queues=_queues(outputs),
            ingest_machine_arn=outputs["IngestStateMachineArn"],
            import_machine_arn=outputs["ImportStateMachineArn"],
            datastore_id=outputs["DatastoreId"],
            catalog_settings=CatalogSettings.of_secret(
                cloud.secret(outputs["CatalogSecretArn"]),
                tls=os.environ.get("CATALOG_TLS", "verify"),
                ca_file=os.environ.get("CATALOG_CA_FILE") or None,
            ),
        )
    except KeyError as missing:
        raise StackNotFoundError(
            f"None of the stacks {', '.join(names)} has the output {missing}. Is --stack as in `ahi-ingest-ENVIRONMENT`, and "
            "were all of its stacks deployed by this version?"
        ) from None


def _queues(outputs: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(url for name, url in sorted(outputs.items()) if name.startswith(_QUEUE_OUTPUTS) and name.endswith("Url"))
