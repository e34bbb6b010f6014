"""How fast objects are indexed and how much of them is fetched, beside the reference's way, on one local stack in one run.

    ./dev bench index [--objects 300] [--rounds 7] [--kinds ct,enhanced,tiny] [--rows 1000,200000,1000000]
                      [--servers ministack,seaweedfs,memory,memory+20]

Each round puts fresh objects into S3 and lets both index them in turn, one worker each, into databases of their own on one
server: ours by slices of 100 as the machine plans them, the reference's way by bench.reference_index. With `--rows` the tables
of instances hold that many rows before, so that growth shows, with objects from the first of the servers. What stands for S3
shows in all figures, so there are several: the emulator of the local stack, a server that stores, and one of ours that keeps
objects in memory, as quick as it can be and with a latency like S3's: `memory+20` answers each GET after 20 ms.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from bench import s3 as s3_servers
from bench.measure import interval, ratios
from bench.s3 import BUCKET
from lambdas.adapters.aws import READS_AT_ONCE, Storage
from lambdas.catalog import Catalog, CatalogSettings, associations, migrate
from lambdas.logic.header import FIRST_READ_BYTES
from lambdas.logic.indexing import Slice, index_slice
from lambdas.logic.registering import plan_slices
from local.aws import Aws
from local.mariadb import MariaDb
from local.ministack import MiniStack
from local.processes import free_port
from tests.support.associations import EDGE, PlacedAssociation, Placer
from tests.support.catalog import settings_of

OURS, REFERENCE, READING = "ahi-ingest", "the reference's way", "headers read, and no more"
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


@dataclass(frozen=True, kw_only=True)
class Source:
    """An association in an S3, and what a function keeps across invocations of it."""

    s3: Aws
    storage: Storage
    placed: PlacedAssociation


class Bench:
    """Both catalogs on one server. `secrets` has the reference's secret."""

    def __init__(self, server: MariaDb, secrets: Aws) -> None:
        self.secrets = secrets
        self.ours = settings_of(server.address)
        migrate(self.ours)
        self.reference = CatalogSettings(**{**vars(self.ours), "database": f"{self.ours.database}_reference"})
        with self._connected(self.ours) as connection:
            connection.cursor().execute(f"CREATE DATABASE {self.reference.database}")
        with self._connected(self.reference) as connection:
            reference_index.create(connection)
        reference_index.keep_secret(secrets, self.reference)

    def fill(self, rows: int) -> None:
        """Bring both tables of instances to `rows` rows."""
        with self._connected(self.ours) as connection:
            connection.cursor().execute(_FILL, (rows,))
            connection.commit()
        with self._connected(self.reference) as connection:
            reference_index.fill(connection, rows)

    def place(self, s3: Aws, files: list[bytes]) -> Source:
        placed = Placer(aws=s3, bucket=BUCKET).place(files)
        Catalog(lambda: self.ours).transaction(
            lambda cursor: associations.register(cursor, placed.announcement, placed.manifest)
        )
        return Source(s3=s3, storage=Storage(s3.session, endpoint_url=s3.endpoint_url), placed=placed)

    def index_ours(self, source: Source) -> int:
        """As IndexObjects does, one slice after the other; how many bytes were fetched."""
        catalog, placed = Catalog(lambda: self.ours), source.placed
        fetched = 0
        for one in plan_slices(placed.manifest):
            wanted = Slice(
                association=placed.association,
                edge=EDGE,
                bucket=BUCKET,
                part=one.part,
                first=one.first,
                count=one.count,
            )
            fetched += index_slice(catalog, source.storage, wanted, {}).fetched_bytes
        catalog.close()
        return fetched

    def index_reference(self, source: Source) -> int:
        return reference_index.index(self.secrets, source.s3, BUCKET, [entry.key for entry in source.placed.entries])

    def read(self, source: Source) -> int:
        """The first bytes of each object, as IndexObjects reads them side by side, and nothing done with them."""

        def read_one(key: str) -> int:
            return len(source.storage.read_range(BUCKET, key, 0, FIRST_READ_BYTES))

        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            return sum(pool.map(read_one, [entry.key for entry in source.placed.entries]))

    def statements(self) -> int:
        """SQL statements that the server has run, within procedures too."""
        with self._connected(self.ours) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Queries'")
            return int((cursor.fetchone() or ("", 0))[1])

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


def timed(bench: Bench, work: Callable[[Source], int], source: Source) -> dict[str, float]:
    """The figures of one run; `cpu_ms_an_object` is of the indexer alone, without S3 and the database."""
    objects, statements, cpu = len(source.placed.entries), bench.statements(), time.process_time()
    began = time.perf_counter()
    fetched = work(source)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "objects_a_second": objects / seconds,
        "cpu_ms_an_object": cpu * 1000 / objects,
        "bytes_an_object": fetched / objects,
        "statements_an_object": (bench.statements() - statements) / objects,
    }


def title(kind: str, server: str) -> str:
    """How a kind of objects from a server is called; just the kind where that is the local stack's."""
    name, _, milliseconds = server.partition(s3_servers.AFTER)
    after = f" after {milliseconds} ms" if milliseconds else ""
    return kind if name == s3_servers.MINISTACK else f"{kind} from {name}{after}"


def main() -> None:
    arguments = _arguments()
    kinds, rows = arguments.kinds.split(","), sorted(int(one) for one in arguments.rows.split(","))
    servers = arguments.servers.split(",")
    table = Table("instances before", "objects", "ours a second", "reference a second", "faster", "fewer bytes")
    kept_as = {"objects": arguments.objects, "rows": arguments.rows, "servers": arguments.servers}
    with results.Results("index", **kept_as) as kept, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-")))
        database = stack.enter_context(MariaDb.start(folder / "mariadb", free_port(), _OPTIONS))
        secrets = stack.enter_context(MiniStack.start(folder / "secrets", free_port()))
        bench = Bench(database, secrets.aws)
        for count in rows:
            bench.fill(count)
            for server, kind in itertools.product(servers if count == rows[0] else servers[:1], kinds):
                figures = _rounds(bench, server, kind, arguments.objects, arguments.rounds)
                for who, measured in figures.items():
                    for one in measured:
                        kept.add(who, title(kind, server), count, one)
                table.add_row(str(count), title(kind, server), *_line(figures[OURS], figures[REFERENCE]))
    Console().print(table)


def _rounds(bench: Bench, server: str, kind: str, objects: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The figures of each, round by round; their order turns from round to round. A first round warms up.

    Each round has a server of its own, since those that keep objects in memory would grow.
    """
    works = {OURS: bench.index_ours, REFERENCE: bench.index_reference, READING: bench.read}
    figures: dict[str, list[dict[str, float]]] = {who: [] for who in works}
    count = max(1, round(objects * KINDS[kind].share))
    for number in range(rounds + 1):
        with (
            tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-") as folder,
            s3_servers.running(server, Path(folder)) as s3,
        ):
            source = bench.place(s3.aws, files_of(KINDS[kind], count if number else min(count, 10)))
            turn = number % len(works)
            for who in (*list(works)[turn:], *list(works)[:turn]):
                measured = timed(bench, works[who], source)
                if number:
                    figures[who].append(measured)
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
    parser.add_argument(
        "--servers", default="ministack,seaweedfs,memory,memory+20", help="what stands for S3; the first with all rows"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
