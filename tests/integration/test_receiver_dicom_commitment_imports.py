"""Commitment after the import: from a C-STORE to the answer of the edge's function, of the catalog's own ledger.

The receiver is a process against the AWS emulator. Its question goes to the real handler, which asks the real database; Lambda
stands here as the HTTP that boto3 speaks with it.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest

from contract.commitment import SentObject
from contract.manifest import PartManifest
from lambdas import errors
from lambdas.handlers import answer_edge
from local.aws import Aws
from receiver.aws import ImportFunction
from receiver.cloud import CloudRefusedError, CloudUnavailableError
from tests.support.associations import SENT_AT_MS, PlacedAssociation
from tests.support.aws_endpoint import AwsEndpoint
from tests.support.commitment import Requester, ask
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, Run
from tests.support.receiver import Announced, EdgeProcess, until

FUNCTION = "ahi-ingest-test-answer-edge-1"

pytestmark = pytest.mark.usefixtures("lambdas")


class Lambda(AwsEndpoint):
    """Invokes the handler in this process; `down` answers as Lambda does that has no room."""

    def __init__(self) -> None:
        self.down = False
        super().__init__(self._invoke)

    def _invoke(self, method: str, path: str, body: Any) -> tuple[int, Mapping[str, str], Any]:
        assert (method, path) == ("POST", f"/2015-03-31/functions/{FUNCTION}/invocations")
        if self.down:
            return 503, {}, {"Message": "Service Unavailable"}
        return 200, {}, answer_edge.handler(body, CONTEXT)


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    monkeypatch.setenv("EDGE_ID", "edge-1")
    with Lambda() as function:
        yield function


def run_of(aws: Aws, edge: EdgeProcess, announced: Announced) -> Run:
    """The execution that a message starts."""
    manifest = announced.manifest
    entries = tuple(announced.entries)
    part = PartManifest(association=manifest.association, edge=manifest.edge, part=1, entries=entries)
    placed = PlacedAssociation(bucket=edge.bucket, manifest=manifest, parts=(part,), sent_at_ms=SENT_AT_MS)
    return Run(aws=aws, placed=placed)


def test_an_object_is_committed_once_its_import_is_recorded_through_outage_and_kill_9(
    aws: Aws, bucket: str, tmp_path: Path, function: Lambda
) -> None:
    slices = [pydicom.dcmread(path) for path in ct_series(tmp_path / "ct", 3)]
    good, refused, other = (str(one.SOPInstanceUID) for one in slices)
    requester = Requester()
    with requester.listening() as port:
        edge = EdgeProcess.prepare(
            aws,
            bucket,
            tmp_path / "edge",
            commitment_peers=f"MODALITY=127.0.0.1:{port}",
            commitment_after="healthimaging",
            commitment_function=FUNCTION,
        )
        edge.aws_variables["AWS_ENDPOINT_URL_LAMBDA"] = function.url
        function.down = True
        edge.start()
        with requester.associated(edge.port) as association:
            for one in slices:
                assert association.send_c_store(one).Status == 0
            status, transaction_uid = ask(association, good, refused, other)
            assert status == 0
        (announced,) = edge.announced(1)
        until(lambda: function.requests, "a question", 20)
        function.down = False
        run = run_of(aws, edge, announced)
        plan = run.register()
        edge.kill()
        with edge:
            asked = len(function.requests)
            until(lambda: len(function.requests) > asked, "a question after the restart", 30)
            with pytest.raises(queue.Empty):  # all of it is in S3, and nothing imported
                requester.told(within_seconds=0.5)
            run.index(plan["slices"])
            run.claim()
            run.record("SUBMITTED")
            outputs = run.imported()
            key = next(one.key for one in announced.entries if one.sop_instance_uid == refused)
            outputs.success = [line for line in outputs.success if line["inputFile"] != key]
            outputs.fail(key)
            run.collect(outputs)
            with pytest.raises(errors.IncompleteError):
                run.reconcile()
            told = requester.told(within_seconds=30)
            assert (told.transaction_uid, told.event_type) == (transaction_uid, 2)
            assert (sorted(told.committed), told.failed) == (sorted([good, other]), {refused: 0x0110})


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (
            (200, {"X-Amz-Function-Error": "Unhandled"}, {"errorMessage": "DOE^JANE"}),
            CloudUnavailableError,
            "its log says which",
        ),
        ((403, {}, {"Message": "no"}), CloudRefusedError, "Invoke failed"),
        (
            (429, {"X-Amzn-ErrorType": "TooManyRequestsException"}, {"Message": "later"}),
            CloudUnavailableError,
            "TooManyRequests",
        ),
        ((200, {}, {"version": 1, "results": []}), CloudRefusedError, "other objects"),
        ((200, {}, None), CloudRefusedError, "expected an object"),
    ],
)
def test_an_answer_that_is_none_says_nothing_of_the_objects(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, dict[str, str], Any], error: type[Exception], said: str
) -> None:
    with AwsEndpoint(lambda *_: answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint.url)
        asked = SentObject(association="20261124T021501Z-CT-00000000", sop_class_uid="1.2", sop_instance_uid="1.3")
        with pytest.raises(error, match=said) as raised:
            ImportFunction(FUNCTION).results([asked])
    assert "DOE" not in str(raised.value)
