"""Files of removed associations, written over by new objects, on a real disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract import Ending
from contract.strict import utc_now
from receiver.filesystem import LocalFileSystem
from receiver.part10 import head_bytes
from receiver.spool import AssociationFolder, Spool, StoredObject
from receiver.spool.quarantine import Quarantine
from receiver.spool.recycling import FOLDER, UNUSED_SECONDS, RecycledFiles
from receiver.uploads import AssociationUpload, Uploads
from tests.support.cloud import FakeCloud

EXPLICIT = b"1.2.840.10008.1.2.1"


class CountingFiles(LocalFileSystem):
    """Real files; how many were made and how many written over."""

    def __init__(self) -> None:
        self.created = self.reused = 0
        self.free: int | None = None

    def create(self, folder: Path, name: str) -> int:
        self.created += name.startswith("0")
        return super().create(folder, name)

    def reuse(self, path: Path, new_path: Path) -> int:
        self.reused += 1
        return super().reuse(path, new_path)

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free


class Edge:
    """A spool that recycles, and its cloud."""

    def __init__(self, root: Path) -> None:
        self.root, self.files, self.cloud = root, CountingFiles(), FakeCloud()
        self.spool = Spool(
            root,
            edge="edge-1",
            files=self.files,
            part_max_objects=5000,
            part_max_bytes=10**10,
            object_max_bytes=10**10,
            recycle_bytes=10_000,
        )
        self.uploads = Uploads(self.cloud, bucket="bucket", quarantine=Quarantine(root))

    def begin(self) -> tuple[AssociationFolder, AssociationUpload]:
        folder = self.spool.begin_association(calling_ae="CT", called_ae="ANY", peer="127.0.0.1")
        return folder, self.uploads.begin(folder)

    def associate(self, *contents: bytes, syntax: bytes = b"1.2.4") -> list[bytes]:
        """An association from its beginning to its removal: what its files held."""
        folder, upload = self.begin()
        held = [store(folder, upload, content, number, syntax).path.read_bytes() for number, content in enumerate(contents)]
        upload.end(Ending.RELEASED, utc_now())
        while self.uploads.run_next():
            pass
        return held

    def kept(self) -> list[Path]:
        return list(self.root.glob(f"out/*/{FOLDER}/*"))


def head(number: int, syntax: bytes) -> bytes:
    return head_bytes(sop_class=b"1.2.3", sop_instance=b"1.%d" % number, transfer_syntax=syntax, source_ae=b"CT")


def store(
    folder: AssociationFolder, upload: AssociationUpload, content: bytes, number: int, syntax: bytes = b"1.2.4"
) -> StoredObject:
    writer = folder.begin_object(head(number, syntax))
    writer.write([content])
    stored = writer.commit()
    upload.add(stored)
    return stored


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    made = Edge(tmp_path / "spool")
    yield made
    made.spool.close()


def test_an_object_is_written_over_a_file_of_an_association_that_is_gone(edge: Edge) -> None:
    edge.associate(b"a" * 700, b"b" * 700)
    assert (edge.files.created, edge.files.reused, len(edge.kept())) == (2, 0, 2)
    contents = [b"x" * 600, b"y" * 650 + b"z" * 250, b"new" * 250]
    assert edge.associate(*contents) == [head(number, b"1.2.4") + content for number, content in enumerate(contents)]
    assert (edge.files.created, edge.files.reused) == (3, 2)
    assert [len(content) for key, content in edge.cloud.objects.items() if key.startswith("instances/")][2:] == [
        len(head(number, b"1.2.4")) + len(content) for number, content in enumerate(contents)
    ]


def test_a_file_of_another_size_is_not_taken(edge: Edge) -> None:
    edge.associate(b"a" * 4000)
    edge.associate(b"b" * 100, b"c" * 100)  # the first is expected to be as the last one was
    assert (edge.files.created, edge.files.reused) == (2, 1)


def test_a_quarantined_file_keeps_its_content(edge: Edge) -> None:
    bad = b"unreadable" * 70
    (held,) = edge.associate(bad, syntax=EXPLICIT)
    edge.associate(b"x" * 700)
    (copy,) = edge.root.glob("quarantine/*/*.dcm")
    assert copy.read_bytes() == held
    assert edge.files.reused == 0


def test_no_more_is_kept_than_the_setting_says(edge: Edge) -> None:
    edge.associate(*(b"%d" % number * 2000 for number in range(10)))
    kept = edge.kept()
    assert len(kept) > 2
    assert 10_000 - 2_400 < sum(path.stat().st_size for path in kept) <= 10_000


@pytest.mark.parametrize(("free", "low", "go"), [(20_000, 20_000, False), (20_000, 20_001, True), (9_999, 0, True)])
def test_recycled_files_go_when_the_disk_is_low_or_has_less_than_they_may_have(
    edge: Edge, free: int, low: int, go: bool
) -> None:
    edge.associate(b"a" * 700)
    edge.files.free = free
    assert edge.spool.free_bytes(low) == free
    assert (edge.kept() == []) is go


def test_files_are_recycled_again_once_the_disk_has_room(edge: Edge) -> None:
    edge.associate(b"a" * 700)
    edge.spool.free_bytes(10**18)
    edge.associate(b"b" * 700)
    assert (edge.files.reused, len(edge.kept())) == (0, 1)


def test_recycled_files_go_with_the_process(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    edge.associate(b"a" * 700)
    assert edge.kept()
    edge.spool.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_recycled_files_of_a_dead_process_are_removed_by_the_next(edge: Edge) -> None:
    edge.associate(b"a" * 700)
    (boot,) = (edge.root / "out").iterdir()
    (edge.root / "lock").unlink()
    (boot / "lock").rename(boot / "lock of a process that is dead now")
    (boot / "lock of a process that is dead now").unlink()
    after = Edge(edge.root)
    assert after.spool.leftovers() == []
    assert edge.kept() == []
    after.spool.close()


def test_files_that_nobody_uses_are_removed(tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        return now

    recycled = RecycledFiles(LocalFileSystem(), tmp_path, max_bytes=1_000, clock=clock)
    (tmp_path / "old.dcm").write_bytes(b"content")
    recycled.keep(tmp_path / "old.dcm")
    now = UNUSED_SECONDS
    recycled.remove_unused()
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["1"]
    now += 1
    recycled.remove_unused()
    assert list(tmp_path.iterdir()) == []
    assert recycled.take(tmp_path, "1.tmp", 7) is None


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.rename(path.with_name("elsewhere"))])
def test_a_file_that_is_gone_is_not_missed(edge: Edge, spoil: Callable[[Path], object]) -> None:
    edge.associate(b"a" * 700)
    spoil(edge.kept()[0])
    edge.associate(b"b" * 700)
    assert (edge.files.created, edge.files.reused) == (2, 1)
    assert any(content.endswith(b"b" * 700) for content in edge.cloud.objects.values())
