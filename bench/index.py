"""How fast objects are indexed and how much of them is fetched, beside the reference's way, on one local stack in one run.

    ./dev bench index [--objects 300] [--rounds 7] [--kinds ct,enhanced,tiny] [--rows 1000,200000,1000000]

Each round puts fresh objects into the emulator's S3 and lets both index them in turn, one worker each, into databases of
their own on one server: ours by slices of 100 as the machine plans them, the reference's way by bench.reference_index. With
`--rows` the tables of instances hold that many rows before, so that growth shows.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, generate_uid
from rich.console import Console
from rich.table import Table

from bench import reference_index, results
from bench.measure import interval, ratios
from lambdas.adapters.aws import Storage
from lambdas.catalog import Catalog, CatalogSettings, associations, migrate
from lambdas.logic.indexing import Slice, index_slice
from lambdas.logic.registering import plan_slices
from local.aws import Aws
from local.mariadb import MariaDb
from local.ministack import MiniStack
from local.processes import free_port
from tests.support.associations import PlacedAssociation, Placer
from tests.support.catalog import settings_of

OURS, REFERENCE = "ahi-ingest", "the reference's way"
_BUCKET = "bench"
_OPTIONS = ("--innodb-buffer-pool-size=1G",)
"""Half of what Aurora has with one capacity unit: a million instances fit."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Objects with the header of a real CT slice and `pixel_bytes` of pixels; `frames` in functional groups when several."""

    pixel_bytes: int
    share: float
    """How many objects of this kind to one of CT, so that runs take alike."""
    frames: int = 1


KINDS = {
    "ct": Kind(pixel_bytes=512 * 1024, share=1),
    "enhanced": Kind(pixel_bytes=20 * 1024 * 1024, share=0.05, frames=200),
    "tiny": Kind(pixel_bytes=8 * 1024, share=2),
}


def files_of(kind: Kind, count: int) -> list[bytes]:
    """Part 10 files of one new series in a new study."""
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)  # noqa: S101 - it is bundled
    template = dcmread(path)
    template.StudyInstanceUID, template.SeriesInstanceUID = generate_uid(), generate_uid()
    template.PatientID = f"BENCH-{uuid4().hex[:8]}"
    template.PixelData = random.Random(1).randbytes(min(kind.pixel_bytes, 2**20)) * max(1, kind.pixel_bytes // 2**20)
    if kind.frames > 1:
        template.SOPClassUID = EnhancedCTImageStorage
        template.NumberOfFrames = kind.frames
        template.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(kind.frames)]
    return [_file(template, number) for number in range(1, count + 1)]


def _frame(number: int) -> Dataset:
    content, position, frame = Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", number + 1
    position.ImagePositionPatient = [0, 0, number]
    frame.FrameContentSequence, frame.PlanePositionSequence = [content], [position]
    return frame


def _file(template: Dataset, number: int) -> bytes:
    template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    template.InstanceNumber = number
    buffer = BytesIO()
    template.save_as(buffer)
    return buffer.getvalue()


class Bench:
    """Both catalogs on one server, and one S3."""

    def __init__(self, server: MariaDb, aws: Aws) -> None:
        self.aws = aws
        aws.s3.create_bucket(Bucket=_BUCKET)
        self.ours = settings_of(server.address)
        migrate(self.ours)
        self.reference = CatalogSettings(**{**vars(self.ours), "database": f"{self.ours.database}_reference"})
        with self._connected(self.ours) as connection:
            connection.cursor().execute(f"CREATE DATABASE {self.reference.database}")
        with self._connected(self.reference) as connection:
            reference_index.create(connection)
        self.placer = Placer(aws=aws, bucket=_BUCKET)

    def fill(self, rows: int) -> None:
        """Bring both tables of instances to `rows` rows."""
        with self._connected(self.ours) as connection:
            connection.cursor().execute(_FILL, (rows,))
            connection.commit()
        with self._connected(self.reference) as connection:
            reference_index.fill(connection, rows)

    def place(self, files: list[bytes]) -> PlacedAssociation:
        placed = self.placer.place(files)
        Catalog(lambda: self.ours).transaction(
            lambda cursor: associations.register(cursor, placed.announcement, placed.manifest)
        )
        return placed

    def index_ours(self, placed: PlacedAssociation) -> int:
        """As IndexObjects does, one slice after the other; how many bytes were fetched."""
        catalog, storage = Catalog(lambda: self.ours), Storage(self.aws.session, endpoint_url=self.aws.endpoint_url)
        fetched = 0
        for one in plan_slices(placed.manifest):
            wanted = Slice(
                association=placed.association,
                edge=self.placer.edge,
                bucket=_BUCKET,
                part=one.part,
                first=one.first,
                count=one.count,
            )
            fetched += index_slice(catalog, storage, wanted, {}).fetched_bytes
        catalog.close()
        return fetched

    def index_reference(self, placed: PlacedAssociation) -> int:
        return reference_index.index(self.reference, self.aws, _BUCKET, [entry.key for entry in placed.entries])

    def statements(self) -> int:
        """SQL statements that the server has run, within procedures too."""
        with self._connected(self.ours) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Queries'")
            return int((cursor.fetchone() or ("", 0))[1])

    def forget(self, placed: PlacedAssociation) -> None:
        """Remove the objects: the emulator keeps them in memory."""
        for entry in placed.entries:
            self.aws.s3.delete_object(Bucket=_BUCKET, Key=entry.key)

    @contextmanager
    def _connected(self, settings: CatalogSettings) -> Iterator[pymysql.Connection[Any]]:
        with pymysql.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password,
            database=settings.database,
            autocommit=True,
        ) as connection:
            yield connection


# MariaDB's own, as the bench runs on nothing else: seq_1_to_N is a table of numbers.
_FILL = """
INSERT INTO instance (sop_instance_uid, study_instance_uid, series_instance_uid, parent_order, described_order, object_hash,
                      sop_class_uid, image_type, `rows`, `columns`)
SELECT UUID(), CONCAT('2.', seq MOD 100), CONCAT('3.', seq MOD 1000), '0', '0', SHA2(seq, 256), '1.2.840.10008.5.1.4.1.1.2',
       '["ORIGINAL"]', 512, 512
FROM seq_1_to_%s
WHERE seq > (SELECT COUNT(*) FROM (SELECT 1 FROM instance) AS those)
"""


def timed(bench: Bench, work: Callable[[PlacedAssociation], int], placed: PlacedAssociation) -> dict[str, float]:
    objects, statements = len(placed.entries), bench.statements()
    began = time.perf_counter()
    fetched = work(placed)
    seconds = time.perf_counter() - began
    return {
        "objects_a_second": objects / seconds,
        "bytes_an_object": fetched / objects,
        "statements_an_object": (bench.statements() - statements) / objects,
    }


def main() -> None:
    arguments = _arguments()
    kinds, rows = arguments.kinds.split(","), sorted(int(one) for one in arguments.rows.split(","))
    table = Table("instances before", "objects", "ours a second", "reference a second", "faster", "fewer bytes")
    with results.Results("index", objects=arguments.objects, rows=arguments.rows) as kept, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-")))
        server = stack.enter_context(MariaDb.start(folder / "mariadb", free_port(), _OPTIONS))
        bench = Bench(server, stack.enter_context(MiniStack.start(folder / "s3", free_port())).aws)
        for count, kind in itertools.product(rows, kinds):
            bench.fill(count)
            figures = _rounds(bench, kind, arguments.objects, arguments.rounds)
            for who, measured in figures.items():
                for one in measured:
                    kept.add(who, kind, count, one)
            table.add_row(str(count), kind, *_line(figures[OURS], figures[REFERENCE]))
    Console().print(table)


def _rounds(bench: Bench, kind: str, objects: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The figures of each, round by round; who goes first changes from round to round. A first round warms up."""
    figures: dict[str, list[dict[str, float]]] = {OURS: [], REFERENCE: []}
    works = {OURS: bench.index_ours, REFERENCE: bench.index_reference}
    count = max(1, round(objects * KINDS[kind].share))
    for number in range(rounds + 1):
        placed = bench.place(files_of(KINDS[kind], count if number else min(count, 10)))
        for who in sorted(works, reverse=number % 2 == 0):
            measured = timed(bench, works[who], placed)
            if number:
                figures[who].append(measured)
        bench.forget(placed)
    return figures


def _line(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> list[str]:
    def of(measured: list[dict[str, float]], name: str) -> list[float]:
        return [one[name] for one in measured]

    faster = ratios(of(ours, "objects_a_second"), of(theirs, "objects_a_second"))
    fewer = interval(of(theirs, "bytes_an_object")).median / interval(of(ours, "bytes_an_object")).median
    return [
        f"{interval(of(ours, 'objects_a_second')).median:.0f}",
        f"{interval(of(theirs, 'objects_a_second')).median:.0f}",
        f"{faster.median:.1f} ({faster.low:.1f} to {faster.high:.1f})",
        f"{fewer:.1f}",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=300, help="CT objects a round; other kinds in proportion")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kinds", default="ct,enhanced,tiny")
    parser.add_argument("--rows", default="1000,200000,1000000", help="rows of instances before, from few to many")
    return parser.parse_args()


if __name__ == "__main__":
    main()
