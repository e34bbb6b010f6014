"""The whole pipeline on one machine, as `ahi-ingest up` runs it: the deployed template is the cloud's own.

    MariaDB, AWS emulator -> HealthImaging emulator, Step Functions engine -> deploy, migrate -> receiver

Each is a program of its own on loopback, with its state below the state folder. What is deployed is synthesized by `cdk`;
names are fixed, so that a start after a kill -9 finds bucket, catalog, data store and executions again.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import synth
from local.announce import announce_again
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Aws
from local.deploy import deploy, register_machines
from local.healthimaging.launch import HealthImaging
from local.mariadb import MariaDb
from local.ministack import MiniStack
from local.processes import LOOPBACK, Process, accepts
from local.supervisor import Service, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.mariadb import DatabaseAddress
    from local.state import StateFolder

PORTS = ("mysql", "aws", "stepfunctions", "medical_imaging")
AE_TITLE = "AHI_INGEST"


class StackError(Exception):
    """The stack cannot be made ready. The text says which step failed, and why."""


class Stack:
    """The stack of one state folder. `start` it, `supervise` it, and always `stop` it."""

    def __init__(self, state: StateFolder, ports: dict[str, int], *, report: Callable[[str], None]) -> None:
        self._state = state.path
        self._ports = ports
        self._report = report
        self._supervisor = Supervisor(report=report)
        self._aws = Aws(_url(ports["aws"]))
        self._engine = Aws(_url(ports["stepfunctions"]))
        self._medical_imaging_url = _url(ports["medical_imaging"])

    def start(self) -> dict[str, Any]:
        """Start and deploy everything; what `endpoints.json` says. Raises StackError, and the errors of the steps."""
        with ThreadPoolExecutor() as together:
            mariadb = together.submit(self._start_mariadb)
            emulators = [
                together.submit(self._start, service)
                for service in (self._ministack(), self._healthimaging(), self._stepfunctions())
            ]
            assembly = self._timed("Synthesizing the cloud's template", synth.assembly)
            for emulator in emulators:
                emulator.result()
            database = mariadb.result()
        self._keep_secret(database)
        outputs = self._timed("Deploying it", lambda: self._deploy(assembly))
        self._timed("Bringing the catalog up to date", lambda: self._migrate(outputs["MigrateCatalogFunctionName"]))
        self._start(self._receiver(outputs))
        self._announce(outputs)
        return self._endpoints(outputs, database)

    def supervise(self) -> None:
        """Keep it running. Raises ServiceDiedError when it cannot be."""
        self._supervisor.supervise()

    def stop(self) -> None:
        """End it: the receiver first, the database last."""
        self._supervisor.stop()

    def _start(self, service: Service) -> None:
        self._timed(f"Starting {service.name}", lambda: self._supervisor.start(service))

    def _timed(self, doing: str, step: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = step()
        self._report(f"{doing}: {time.monotonic() - began:.1f} s")
        return result

    def _start_mariadb(self) -> DatabaseAddress:
        addresses: list[DatabaseAddress] = []

        def start() -> Process:
            server = MariaDb.start(self._state / "mysql", self._ports["mysql"])
            addresses.append(server.address)
            return server.process

        self._start(Service(name="MariaDB", start=start, restarts=False))
        return addresses[-1]

    def _ministack(self) -> Service:
        environment = {
            "AWS_ENDPOINT_URL_SFN": self._engine.endpoint_url,
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self._medical_imaging_url,
        }
        return Service(
            name="the AWS emulator",
            start=lambda: MiniStack.start(self._state / "aws", self._ports["aws"], extra_env=environment).process,
            restarts=False,
        )

    def _healthimaging(self) -> Service:
        return Service(
            name="the HealthImaging emulator",
            start=lambda: (
                HealthImaging.start(
                    self._state / "medical-imaging",
                    self._ports["medical_imaging"],
                    s3_endpoint=self._aws.endpoint_url,
                    events_endpoint=self._aws.endpoint_url,
                    datastore_id=synth.DATASTORE_ID,
                ).process
            ),
            restarts=True,
        )

    def _stepfunctions(self) -> Service:
        folder, port = self._state / "stepfunctions", self._ports["stepfunctions"]
        command = [sys.executable, "-m", "local.stepfunctions", "--port", str(port), "--state", str(folder)]
        command += ["--lambda-endpoint", self._aws.endpoint_url, "--events-endpoint", self._aws.endpoint_url]
        command += ["--medical-imaging-endpoint", self._medical_imaging_url]
        return Service(
            name="the Step Functions engine",
            start=lambda: Process.start(
                "The Step Functions engine", command, log_path=folder / "stepfunctions.log", ready=accepts(port)
            ),
            restarts=True,
        )

    def _receiver(self, outputs: dict[str, str]) -> Service:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "AHI_INGEST_STATE"},  # which is ours
            "AHI_INGEST_EDGE_ID": synth.EDGE,
            "AHI_INGEST_BUCKET": outputs["BucketName"],
            "AHI_INGEST_QUEUE_URL": outputs["InboundLocalUrl"],
            "AHI_INGEST_COMMITMENT_FUNCTION": outputs[
                "CommitmentFunctionArn"
            ],  # asked where AHI_INGEST_COMMITMENT_AFTER says so
            "AHI_INGEST_SPOOL": str(self._state / "spool"),
            "AHI_INGEST_HOST": LOOPBACK,
            "AHI_INGEST_PORT": str(self._ports["dicom"]),
            "AHI_INGEST_AE_TITLE": AE_TITLE,
            "AHI_INGEST_HEALTH_PORT": "0",
            "AWS_ENDPOINT_URL": self._aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
        return Service(
            name="the receiver",
            start=lambda: Process.start(
                "The receiver",
                [sys.executable, "-m", "receiver"],
                log_path=self._state / "receiver.log",
                ready=accepts(self._ports["dicom"]),
                env=environment,
            ),
            restarts=True,
        )

    def _keep_secret(self, database: DatabaseAddress) -> None:
        """The catalog's address and password, in the form of RDS's own secrets."""
        secret = json.dumps(
            {
                "engine": "mysql",
                "host": database.host,
                "port": database.port,
                "username": database.user,
                "password": database.password,
                "dbname": database.database,
            }
        )
        secrets = self._aws.secrets
        try:
            secrets.create_secret(Name=synth.SECRET, SecretString=secret)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=synth.SECRET, SecretString=secret)

    def _deploy(self, assembly: Path) -> dict[str, str]:
        outputs = deploy(assembly, self._aws)
        register_machines(self._aws, self._engine)
        return outputs

    def _migrate(self, function: str) -> None:
        answer = self._aws.functions.invoke(FunctionName=function, LogType="Tail")
        if "FunctionError" in answer:
            said = answer["Payload"].read() + b"\n" + base64.b64decode(answer.get("LogResult", ""))
            raise StackError(f"The catalog was not brought up to date. {function} said:\n{said.decode(errors='replace')}")

    def _announce(self, outputs: dict[str, str]) -> None:
        announced = announce_again(
            self._aws,
            self._engine,
            bucket=outputs["BucketName"],
            queue_url=outputs["InboundLocalUrl"],
            machine_arn=outputs["IngestStateMachineArn"],
        )
        if announced:
            self._report(f"Announced again: {announced} association(s) that were in S3 and had no execution")

    def _endpoints(self, outputs: dict[str, str], database: DatabaseAddress) -> dict[str, Any]:
        return {
            "dicom": {"host": LOOPBACK, "port": self._ports["dicom"], "ae_title": AE_TITLE},
            "aws": {
                "endpoint_url": self._aws.endpoint_url,
                "region": REGION,
                "access_key_id": ACCESS_KEY_ID,
                "secret_access_key": SECRET_ACCESS_KEY,
            },
            "stepfunctions": {"endpoint_url": self._engine.endpoint_url},
            "medical_imaging": {"endpoint_url": self._medical_imaging_url, "datastore_id": synth.DATASTORE_ID},
            "mysql": asdict(database),
            "bucket": outputs["BucketName"],
            "queues": {
                "inbound": outputs["InboundLocalUrl"],
                "inbound_dlq": outputs["InboundLocalDeadLettersUrl"],
                "events_dlq": outputs["EventDeadLettersUrl"],
                "external": outputs["ExternalUrl"],
                "external_dlq": outputs["ExternalDeadLettersUrl"],
            },
            "state_machines": {"ingest": outputs["IngestStateMachineArn"], "import": outputs["ImportStateMachineArn"]},
        }


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"
