"""What is known of the past without the catalog: S3's manifests and outputs, HealthImaging's jobs, Step Functions' executions.

S3 keeps all. HealthImaging keeps jobs, and Step Functions executions, for 90 days: of what is older, jobs that FAILED and the
executions are not known any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.aws import CALLS_AT_ONCE
from console.aws.import_jobs import Job
from console.aws.machines import Run
from console.stack import Stack
from contract.keys import IMPORTS_PREFIX, MANIFESTS_PREFIX, parse_manifest_key, parse_outputs_folder
from contract.manifest import AssociationManifest
from contract.message import InboundMessage
from contract.strict import ContractError, from_json
from lambdas.catalog.associations import Announcement
from lambdas.catalog.imports import COMPLETED, FAILED, AttemptKey
from lambdas.errors import AlreadyRunningError
from lambdas.logic.claiming import JobInput
from lambdas.logic.outputs import job_input
from lambdas.logic.starting import parse_announcement

_OUTPUT_MANIFEST = "job-output-manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt whose job has ended. `execution_arn` is the execution that drove it last, empty when nobody knows any more.

    `opened_by` is the input of the execution that claimed it first.
    """

    key: AttemptKey
    edge: str
    job_id: str
    status: str
    message: str
    output_s3_uri: str
    at: datetime
    execution_arn: str
    opened_by: Mapping[str, Any]
    input: JobInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """An association: its announcement, and the execution that held its lease last, if Step Functions knows one."""

    announcement: Announcement
    run: Run | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRebuilt:
    """Something that could not be rebuilt, and why."""

    association: str
    why: str


def associations(stack: Stack) -> tuple[list[Remembered], list[NotRebuilt]]:
    """Every association with a manifest, in their order in time; and those whose manifest is not readable. Raises CloudError.

    When SQS took the message is known by the execution's input; else by when the manifest came to S3, just before.
    """
    runs = _last_runs(stack)
    keys = [one for one in stack.cloud.objects.below(stack.bucket, MANIFESTS_PREFIX) if one.key.endswith("/manifest.json")]
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        raws = list(pool.map(lambda one: stack.cloud.storage.read(stack.bucket, one.key), keys))
    found, unreadable = [], []
    for one, raw in zip(keys, raws, strict=True):
        _, association = parse_manifest_key(one.key)
        run = runs.get(association)
        sent_at_ms = run.input["sent_at_ms"] if run else int(one.modified_at.timestamp() * 1000)
        try:
            message = InboundMessage.announcing(from_json(AssociationManifest, raw), stack.bucket)
        except ContractError as error:
            unreadable.append(NotRebuilt(association=association, why=f"{one.key}: {error}"))
            continue
        force = bool(run and run.input.get("force"))
        found.append(Remembered(announcement=Announcement(message=message, sent_at_ms=sent_at_ms, force=force), run=run))
    return sorted(found, key=lambda one: (one.announcement.sent_at_ms, one.announcement.message.sequence)), unreadable


def attempts(stack: Stack) -> list[Attempted]:
    """Every attempt whose job has ended, in the order in which the jobs were submitted. Raises CloudError."""
    imaging = stack.cloud.import_jobs(stack.datastore_id)
    jobs = {job.id: job for job in imaging.all()}
    drivers = _drivers(stack)
    below = stack.cloud.objects.below(stack.bucket, IMPORTS_PREFIX)
    manifests = [one for one in below if one.key.endswith(f"/{_OUTPUT_MANIFEST}")]
    uris = [f"s3://{stack.bucket}/{one.key.removesuffix(_OUTPUT_MANIFEST)}" for one in manifests]
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        inputs = list(pool.map(lambda uri: _input(stack, uri), uris))
    found = []
    for one, uri, told in zip(manifests, uris, inputs, strict=True):
        job_id = uri.rstrip("/").rpartition("-")[2]
        known = jobs.get(job_id)
        submitted_at = known.submitted_at if known else one.modified_at
        job = Job(id=job_id, status=COMPLETED, submitted_at=submitted_at, message="")
        found.append(_attempted(job, uri, told, drivers))
    for job in jobs.values():
        if job.status == FAILED:
            input_s3_uri, uri = imaging.s3_uris(job.id)
            if uri.startswith(f"s3://{stack.bucket}/{IMPORTS_PREFIX}"):
                found.append(_attempted(job, uri, JobInput(s3_uri=input_s3_uri), drivers))
    return sorted(found, key=lambda one: (one.at, one.key.association, one.key.part, one.key.attempt))


def _input(stack: Stack, uri: str) -> JobInput:
    try:
        return job_input(stack.cloud.storage, uri)
    except ContractError:
        return JobInput()


def _attempted(job: Job, uri: str, told: JobInput, drivers: Mapping[AttemptKey, Sequence[Run]]) -> Attempted:
    edge, association, part, attempt = parse_outputs_folder(uri.split("/", 3)[3])
    key = AttemptKey(association=association, part=part, attempt=attempt)
    runs = drivers.get(key, ())
    return Attempted(
        key=key,
        edge=edge,
        job_id=job.id,
        status=job.status,
        message=job.message,
        output_s3_uri=uri,
        at=job.submitted_at,
        execution_arn=runs[-1].arn if runs else "",
        opened_by=runs[0].input if runs else {},
        input=told,
    )


def _last_runs(stack: Stack) -> dict[str, Run]:
    """The last execution of each association that had its lease.

    One that found another running never had; nor one whose input is no announcement, as somebody started by hand.
    """
    last: dict[str, Run] = {}
    for run in _runs(stack, stack.ingest_machine_arn):
        if run.error == AlreadyRunningError.__name__:
            continue
        with contextlib.suppress(ContractError):
            last[parse_announcement(run.input).message.association] = run
    return last


def _drivers(stack: Stack) -> dict[AttemptKey, list[Run]]:
    """The executions that claimed each attempt, oldest first."""
    runs = [run for run in _runs(stack, stack.import_machine_arn) if {"association", "part"} <= run.input.keys()]
    drivers: dict[AttemptKey, list[Run]] = {}
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        claimed = pool.map(lambda run: stack.cloud.machines.claimed_attempts(run.arn), runs)
        for run, attempts_of_run in zip(runs, claimed, strict=True):
            for attempt in attempts_of_run:
                key = AttemptKey(association=run.input["association"], part=run.input["part"], attempt=attempt)
                drivers.setdefault(key, []).append(run)
    return drivers


def _runs(stack: Stack, machine_arn: str) -> list[Run]:
    """Every execution of a machine that Step Functions still knows, oldest first."""
    machines = stack.cloud.machines
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        runs: Iterable[Run | None] = pool.map(machines.describe, machines.executions(machine_arn))
        return sorted((run for run in runs if run is not None), key=lambda run: run.started_at)
