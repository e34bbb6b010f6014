"""The operators' commands, run as they run them, against a running stack."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Queries, connect
from tests.support.associations import Placer
from tests.support.dicom import BUNDLED, ct_series
from tests.support.pipeline import announce, ct_small_with_uids_of_their_own, ended
from tests.support.stack import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def catalog(stack: RunningStack) -> Iterator[Queries]:
    with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as queries:
        yield queries


def ahi_ingest(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=240, check=False)


def test_a_folder_is_sent_waited_for_listed_and_shown(stack: RunningStack, catalog: Queries, tmp_path: Path) -> None:
    ct_series(tmp_path / "study", 3, patient_id="CONSOLE-1")
    sent = ahi_ingest("send", tmp_path / "study", "--state", stack.state, "--calling-ae", "CONSOLE")
    assert sent.returncode == 0
    assert "3 of 3 files stored" in sent.stdout
    (association,) = ended(catalog, "CONSOLE")
    waited = ahi_ingest("wait", association.association, "--state", stack.state)
    assert (waited.returncode, waited.stdout) == (0, f"{association.association} is COMPLETE: 3 object(s) imported.\n")
    listed = ahi_ingest("list", "--state", stack.state)
    assert listed.returncode == 0
    assert association.association in listed.stdout
    assert "CONSO" in listed.stdout
    shown = ahi_ingest("show", association.association, "--state", stack.state)
    assert shown.returncode == 0
    (image_set,) = catalog.image_sets(association.association)
    assert image_set.image_set_id in shown.stdout
    assert "released" in shown.stdout


def test_what_a_folder_holds_besides_dicom_is_listed_with_the_reason(stack: RunningStack, tmp_path: Path) -> None:
    ct_series(tmp_path / "study", 1)
    (tmp_path / "study" / "README.txt").write_text("no DICOM")
    shutil.copy(BUNDLED / "test_files" / "dicomdirtests" / "DICOMDIR", tmp_path / "study" / "DICOMDIR")
    host, port = stack.dicom_address
    sent = ahi_ingest("send", tmp_path / "study", "--to", f"{host}:{port}")
    assert sent.returncode == 1
    assert "1 of 3 files stored" in sent.stdout
    assert "no DICM prefix" in sent.stdout
    assert "README.txt" in sent.stdout
    assert "abstract syntax (SOP class) not supported" in sent.stdout


def test_waiting_for_an_association_that_failed_says_why(stack: RunningStack) -> None:
    placed = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local").place(
        [*ct_small_with_uids_of_their_own(1), b"this is no DICOM at all"]
    )
    announce(stack, placed.message)
    waited = ahi_ingest("wait", placed.association, "--state", stack.state)
    assert waited.returncode == 1
    assert f"{placed.association} is INCOMPLETE: Ingest.Incomplete. Of 2 object(s): 1 failed, 1 not indexed." in waited.stderr
    shown = ahi_ingest("show", placed.association, "--state", stack.state)
    assert "1 object(s) not indexed and imported" in shown.stdout


def test_an_association_that_nobody_knows_is_told_of(stack: RunningStack) -> None:
    unknown = "20200101T000000Z-NOBODY-00000000"
    waited = ahi_ingest("wait", unknown, "--timeout-seconds", "0", "--state", stack.state)
    assert waited.returncode == 1
    assert "has not reached the catalog" in waited.stderr
    shown = ahi_ingest("show", unknown, "--state", stack.state)
    assert shown.returncode == 1
    assert "The catalog knows no association" in shown.stderr


def test_without_a_stack_the_commands_say_what_to_do(tmp_path: Path) -> None:
    for command in (["list"], ["show", "x"], ["wait", "x"], ["send", tmp_path]):
        ran = ahi_ingest(*command, "--state", tmp_path)
        assert ran.returncode == 1
        assert "Start the pipeline with `ahi-ingest up" in ran.stderr
        assert "Traceback" not in ran.stderr
