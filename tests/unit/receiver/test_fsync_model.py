"""The fsync model: the receiver's whole durable path on a disk that forgets what was not synced, crashed at every call.

No acknowledged object is lost, none is twice in a manifest, nothing stands in S3 that no manifest names, what is quarantined
has its reason, what was marked as unacknowledged is so still, and whoever was told of an ending or a sequence number is not
contradicted. Of associations that share a folder, each stands in the manifest with what it brought and how it ended. Each fsync
of the path is needed: without it, one of these fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

import receiver.uploads
from contract import Ending
from contract.manifest import AssociationManifest, PartManifest
from contract.message import InboundMessage
from contract.strict import from_json
from receiver import records
from receiver.cloud import CloudUnavailableError
from receiver.coalescing import Coalescing
from receiver.index import ObjectIndex, index_bytes
from receiver.part10 import head_bytes
from receiver.reception import Upload
from receiver.spool import AssociationFolder, Spool
from receiver.uploads import AssociationUpload, Uploads
from tests.support.cloud import FakeCloud
from tests.support.forgetful import Chooser, CrashError, ForgetfulFileSystem, Site

ROOT = Path("/spool")
NOW = datetime(2026, 11, 24, 2, 15, 1, 123000, tzinfo=UTC)
EXPLICIT = "1.2.840.10008.1.2.1"
CALLING = {"A": "CT_ROOM_1", "B": "MR_2", "C": "CT_ROOM_2"}

POWER_LOSS, KILL_9 = Chooser(None), Chooser(None, keep_all=True)
CHOOSERS = [POWER_LOSS, KILL_9, Chooser(1), Chooser(2)]


@dataclass
class World:
    """What is known outside the crashed process: the cloud, and what it told its peers."""

    cloud: FakeCloud = field(default_factory=FakeCloud)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)  # association, digest
    begun: dict[str, str] = field(default_factory=dict)  # association -> calling AE
    sealed: list[tuple[str, Ending, int]] = field(default_factory=list)
    brought: Counter[tuple[str, str]] = field(default_factory=Counter)  # association of the folder, member
    ended: list[tuple[str, str, Ending]] = field(default_factory=list)  # association of the folder, member, how
    unacknowledged: set[tuple[str, int]] = field(default_factory=set)  # association, number of the object


def new_spool(disk: ForgetfulFileSystem, *, part_max_objects: int = 2) -> Spool:
    return Spool(
        ROOT,
        edge="edge-1",
        files=disk,
        part_max_objects=part_max_objects,
        part_max_bytes=10**10,
        object_max_bytes=10**10,
        recycle_bytes=10**6,
        now=lambda: NOW,
    )


def data_set(content: str) -> bytes:
    return content.encode() * 3


def store(
    world: World,
    folder: AssociationFolder,
    upload: Upload,
    sop: str,
    content: str,
    *,
    syntax: str = "1.2.4",
    confirmed: bool = True,
) -> None:
    """One C-STORE, as the P-DATA loop does it. `confirmed`: S3 has it in time, or is not waited for."""
    head = head_bytes(sop_class=b"1.2.3", sop_instance=sop.encode(), transfer_syntax=syntax.encode(), source_ae=b"A")
    try:
        writer = folder.begin_object(head)
        writer.write([data_set(content)])
        stored = writer.commit()
    except OSError:
        return  # 0xA700
    upload.add(stored)
    if not confirmed:
        with contextlib.suppress(OSError):
            folder.mark_unacknowledged(stored)
            world.unacknowledged.add((folder.facts.association, stored.number))
        return  # 0xA700
    world.brought[folder.facts.association, upload.association] += 1
    world.acknowledged.append((folder.facts.association, hashlib.sha256(data_set(content)).hexdigest()))


def work(uploads: Uploads, most_failures: int = 20) -> None:
    """Everything that can be uploaded now, as the workers do it."""
    for _ in range(most_failures):
        try:
            while uploads.run_next():
                pass
        except OSError:
            continue
        return
    pytest.fail("the uploads do not come to an end")


def live(world: World, disk: ForgetfulFileSystem) -> None:
    """Two associations side by side: a new part, repeats, other content of the same UID, quarantine, two endings.

    When one is gone a third writes over its files: with shorter content, with longer, and with what is not kept.
    """
    uploads = Uploads(world.cloud, bucket="bucket")
    try:
        spool = new_spool(disk)
    except OSError:
        return  # the receiver does not start
    folders: dict[str, AssociationFolder] = {}
    sending: dict[str, AssociationUpload] = {}

    def begin(name: str) -> None:
        folders[name] = spool.begin_association(calling_ae=CALLING[name], called_ae="ANY", peer="127.0.0.1")
        world.begun[folders[name].facts.association] = CALLING[name]
        sending[name] = uploads.begin(folders[name])

    begin("A")
    begin("B")
    store(world, folders["A"], sending["A"], "1.1", "one")
    store(world, folders["B"], sending["B"], "2.1", "other")
    store(world, folders["A"], sending["A"], "1.2", "two")
    work(uploads)
    store(world, folders["A"], sending["A"], "1.1", "one, but changed")
    store(world, folders["B"], sending["B"], "2.2", "unreadable", syntax=EXPLICIT)
    store(world, folders["B"], sending["B"], "2.3", "late", confirmed=False)
    store(world, folders["B"], sending["B"], "2.3", "late")
    store(world, folders["A"], sending["A"], "1.2", "two")
    store(world, folders["A"], sending["A"], "1.3", "three")
    for name, ending in (("A", Ending.RELEASED), ("B", Ending.ABORTED), ("C", Ending.RELEASED)):
        sending[name].end(ending, NOW)
        seal = folders[name].sealed
        if seal is not None:
            world.sealed.append((folders[name].facts.association, ending, seal.sequence))
        work(uploads)
        if name == "A":
            begin("C")
            store(world, folders["C"], sending["C"], "3.1", "-")
            with contextlib.suppress(OSError):
                folders["C"].begin_object(b"cut off within its head").discard()
            store(world, folders["C"], sending["C"], "3.2", "longer than what was there before")
    spool.close()


def live_shared(world: World, disk: ForgetfulFileSystem) -> None:
    """Associations that share a folder: a repeat, one that brings nothing, two endings. The receiver drains before the last."""
    uploads, coalescing = Uploads(world.cloud, bucket="bucket"), Coalescing(60)
    try:
        spool = new_spool(disk, part_max_objects=5)
    except OSError:
        return
    arrivals: tuple[tuple[str, ...], ...] = (("1.1 one",), (), ("1.1 one", "1.2 two"), ("1.3 three",))
    for number, (objects, ending) in enumerate(zip(arrivals, itertools.cycle((Ending.RELEASED, Ending.ABORTED)))):
        sender = (CALLING["A"], "ANY", "127.0.0.1")
        member = coalescing.join(sender, f"20261124T02150{number}Z-CT_ROOM_1-0000000{number}", NOW)
        if member is None:
            folder = spool.begin_association(calling_ae=sender[0], called_ae=sender[1], peer=sender[2])
            world.begun[folder.facts.association] = sender[0]
            member = coalescing.begin(folder, uploads.begin(folder))
        folder = member.folder
        for one in objects:
            store(world, folder, member, *one.split())
        if number == len(arrivals) - 1:
            coalescing.close()
        member.end(ending, NOW)
        if objects and any(shared.folder is folder for shared in coalescing._free):
            world.ended.append((folder.facts.association, member.association, ending))
        if folder.sealed is not None:
            world.sealed.append((folder.facts.association, folder.sealed.ending, folder.sealed.sequence))
        work(uploads)
    spool.close()


def live_by_chance(world: World, disk: ForgetfulFileSystem, chance: random.Random) -> None:
    """Some associations, in an order of acts that nobody thought of: objects of few UIDs, uploads, outages, endings."""
    uploads, spool = Uploads(world.cloud, bucket="bucket"), new_spool(disk, part_max_objects=chance.randint(1, 3))
    open_: dict[str, tuple[AssociationFolder, AssociationUpload]] = {}
    for step in range(chance.randint(5, 40)):
        act = chance.choice(("begin", "store", "store", "store", "work", "work", "outage", "end"))
        if act == "begin" and len(open_) < 3:
            name = f"AE_{step}"
            folder = spool.begin_association(calling_ae=name, called_ae="ANY", peer="127.0.0.1")
            world.begun[folder.facts.association] = name
            open_[name] = folder, uploads.begin(folder)
        elif act == "outage":
            world.cloud.failure = chance.choice((None, CloudUnavailableError("away")))
        elif act == "work":
            with contextlib.suppress(CloudUnavailableError):
                uploads.run_next()
        elif open_ and act == "store":
            name = chance.choice(sorted(open_))
            if chance.random() < 0.2:
                store(world, *open_[name], "2.2", chance.choice(("unreadable", "as bad")), syntax=EXPLICIT)
            else:
                uid, confirmed = chance.choice("123"), chance.random() < 0.8
                store(world, *open_[name], f"1.{uid}", uid + chance.choice("abc"), confirmed=confirmed)
        elif open_ and act == "end":
            folder, upload = open_.pop(chance.choice(sorted(open_)))
            ending = chance.choice((Ending.RELEASED, Ending.ABORTED, Ending.LOST))
            upload.end(ending, NOW)
            if folder.sealed is not None:
                world.sealed.append((folder.facts.association, ending, folder.sealed.sequence))


def recover(world: World, disk: ForgetfulFileSystem) -> None:
    """The next start, with other limits of a part."""
    spool = new_spool(disk, part_max_objects=1)
    uploads = Uploads(world.cloud, bucket="bucket")
    for folder in spool.leftovers():
        for stored in folder.objects():
            if (folder.facts.association, stored.number) in world.unacknowledged:
                assert stored.unacknowledged, "what was refused passes for acknowledged"
        uploads.resume(folder)
    assert spool.unreadable == []
    work(uploads)
    assert uploads.open_associations == 0
    spool.close()


def check(world: World, disk: ForgetfulFileSystem) -> None:
    manifests: dict[str, AssociationManifest] = {}
    for body in world.cloud.messages:
        message = from_json(InboundMessage, body)
        manifest = from_json(AssociationManifest, world.cloud.objects[message.manifest_key])
        assert InboundMessage.announcing(manifest, "bucket") == message
        manifests[message.association] = manifest
    listed: set[str] = set()
    quarantined: set[str] = set()
    digests: dict[str, Counter[str]] = {}
    for association, manifest in manifests.items():
        assert manifest.calling_ae == world.begun[association]
        prefix = f"manifests/edge-1/{association}/"
        parts = [from_json(PartManifest, world.cloud.objects[f"{prefix}{part.part}.json"]) for part in manifest.parts]
        assert tuple(part.summary() for part in parts) == manifest.parts
        entries = [entry for part in parts for entry in part.entries]
        assert len({entry.key for entry in entries}) == len(entries)
        digests[association] = Counter(entry.digest for entry in entries)
        for held in manifest.quarantined:
            assert (held.sop_instance_uid, held.reason) == ("2.2", "cannot be read: an element without a VR")
            digests[association][index_bytes(world.cloud.objects[held.key]).digest] += 1
            quarantined.add(held.key)
        for entry in entries:
            content = world.cloud.objects[entry.key]
            assert (len(content), index_bytes(content).digest) == (entry.size_bytes, entry.digest)
        listed |= {entry.key for entry in entries}
    members = {
        (association, member.association): member for association, manifest in manifests.items() for member in manifest.members
    }
    for (association, name), count in world.brought.items():
        if manifests[association].members or name != association:
            assert members[association, name].objects >= count, "an object's association is not the one that brought it"
    for association, name, ending in world.ended:
        if (association, name) in world.brought:
            told = members.get((association, name), manifests[association])
            assert told.ending is ending, "how an association ended is contradicted"
    for association, digest in world.acknowledged:
        assert digests[association][digest] == 1, "an acknowledged object is lost, or twice in a manifest"
    assert {key for key in world.cloud.objects if not key.startswith("manifests/")} == listed | quarantined
    sequences = [manifest.sequence for manifest in manifests.values()]
    assert len(set(sequences)) == len(sequences)
    for association, ending, sequence in world.sealed:
        if association in manifests:
            assert (manifests[association].ending, manifests[association].sequence) == (ending, sequence)
    assert [path for path in disk.tree() if path.startswith("/spool/out/") and path.count("/") > 3] == []


Life = Callable[[World, ForgetfulFileSystem], None]


def run(
    crash_at: int,
    chooser: Chooser,
    second: tuple[int, Chooser] | None = None,
    disabled: Site | None = None,
    life: Life = live,
) -> int:
    """Live until the crash, recover, check. Returns how many calls there were."""
    world, disk = World(), ForgetfulFileSystem()
    disk.crash_at, disk.disabled_site = crash_at, disabled
    with contextlib.suppress(CrashError):
        life(world, disk)
    calls = disk.calls
    disk = disk.crashed(chooser)
    if second is not None:
        disk.crash_at = second[0]
        with contextlib.suppress(CrashError):
            recover(world, disk)
        disk = disk.crashed(second[1])
    recover(world, disk)
    check(world, disk)
    return calls


def run_failing(fail_at: int, life: Life) -> None:
    """Live with a disk that fails once, lose the power, recover, check."""
    world, disk = World(), ForgetfulFileSystem()
    disk.fail_at = fail_at
    life(world, disk)
    disk = disk.crashed(POWER_LOSS)
    recover(world, disk)
    check(world, disk)


CALLS = run(-1, KILL_9)
"""How many calls the whole life takes."""
SHARED_CALLS = run(-1, KILL_9, life=live_shared)


def upgraded_index(content: bytes) -> ObjectIndex:
    """A later version, which reads another Study Instance UID."""
    return replace(index_bytes(content), study_instance_uid="9.9.9")


def run_upgraded(
    crash_at: int, chooser: Chooser, second: tuple[int, Chooser] | None = None, disabled: Site | None = None
) -> None:
    """A crash once a manifest is in S3, then the start of a version that would name the objects otherwise."""
    world, disk = World(), ForgetfulFileSystem()
    disk.crash_at, disk.disabled_site = crash_at, disabled
    with contextlib.suppress(CrashError):
        live(world, disk)
    disk = disk.crashed(chooser)
    if second is not None:
        disk.crash_at = second[0]
        with contextlib.suppress(CrashError):
            recover(world, disk)
        disk = disk.crashed(second[1])
    before = {key: content for key, content in world.cloud.objects.items() if key.startswith("manifests/")}
    announced = {key.split("/")[2] for key in before}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiver.uploads, "index_bytes", upgraded_index)
        recover(world, disk)
    for key, content in world.cloud.objects.items():
        if key.startswith("manifests/") and key.split("/")[2] in announced:
            assert before.get(key, content) == content
            assert b"9.9.9" not in content


@pytest.mark.parametrize("chooser", CHOOSERS, ids=["power loss", "kill -9", "mixed 1", "mixed 2"])
def test_a_crash_at_any_call_loses_no_acknowledged_object(chooser: Chooser) -> None:
    for crash_at in range(CALLS):
        run(crash_at, chooser)
    for crash_at in range(SHARED_CALLS):
        run(crash_at, chooser, life=live_shared)


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_a_crash_of_any_life_loses_no_acknowledged_object(first: int) -> None:
    for seed in range(first, first + 250):
        chance, world, disk = random.Random(seed), World(), ForgetfulFileSystem()
        disk.crash_at = chance.randrange(150)
        with contextlib.suppress(CrashError):
            live_by_chance(world, disk, chance)
        world.cloud.failure = None
        for _ in range(chance.randrange(3)):  # the next starts crash too
            disk = disk.crashed(Chooser(seed, keep_all=chance.random() < 0.5))
            disk.crash_at = chance.randrange(60)
            with contextlib.suppress(CrashError):
                recover(world, disk)
        disk = disk.crashed(chance.choice((POWER_LOSS, KILL_9, Chooser(seed))))
        recover(world, disk)
        check(world, disk)


def test_a_second_crash_during_recovery_loses_no_acknowledged_object() -> None:
    for crash_at, second_at in itertools.product(range(3, CALLS, 11), range(0, 40, 4)):
        for choosers in ((KILL_9, POWER_LOSS), (POWER_LOSS, POWER_LOSS), (Chooser(crash_at), Chooser(second_at))):
            run(crash_at, choosers[0], (second_at, choosers[1]))


def test_a_manifest_that_may_be_in_s3_is_announced_as_it_is_by_a_later_version_too() -> None:
    for crash_at in range(CALLS):
        run_upgraded(crash_at, POWER_LOSS)


def test_a_disk_that_fails_at_any_call_loses_no_acknowledged_object() -> None:
    for fail_at in range(CALLS):
        run_failing(fail_at, live)
    for fail_at in range(SHARED_CALLS):
        run_failing(fail_at, live_shared)


def test_what_was_placed_may_be_on_the_disk_whenever_it_crashes_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "HELD_BYTES", 1)  # as if each object were the last of hundreds
    calls = run(-1, KILL_9)
    assert calls > CALLS
    for at in range(calls):
        for chooser in CHOOSERS:
            run(at, chooser)
        run_failing(at, live)


def sites(life: Life, calls: int) -> set[Site]:
    """Every place of the spool's code that syncs, in a life and in a recovery."""
    world, disk = World(), ForgetfulFileSystem()
    life(world, disk)
    found = set(disk.sites)
    for crash_at in range(calls):
        world, disk = World(), ForgetfulFileSystem()
        disk.crash_at = crash_at
        with contextlib.suppress(CrashError):
            life(world, disk)
        after = disk.crashed(KILL_9)
        recover(world, after)
        found |= after.sites
    return found


def schedules(disabled: Site) -> Iterator[Callable[[], object]]:
    """Lives to try without one sync, those that find most first."""
    if disabled in SHARED_SITES:
        for crash_at in range(SHARED_CALLS):
            for chooser in CHOOSERS:
                yield partial(run, crash_at, chooser, None, disabled, live_shared)
        return
    for crash_at in range(CALLS):
        yield partial(run, crash_at, POWER_LOSS, None, disabled)
    for crash_at in range(CALLS - 1, -1, -2):
        yield partial(run_upgraded, crash_at, POWER_LOSS, None, disabled)
    for crash_at in range(CALLS - 1, -1, -1):
        for second_at in range(5, 17):
            mixed = Chooser(1000 * crash_at + second_at)  # a seed each: equal ones would choose alike
            yield partial(run, crash_at, KILL_9, (second_at, mixed), disabled)
            yield partial(run_upgraded, crash_at, KILL_9, (second_at, POWER_LOSS), disabled)


SITES = sites(live, CALLS)
SHARED_SITES = sites(live_shared, SHARED_CALLS) - SITES
"""Those that only associations have that share a folder."""


def breaks_something(disabled: Site) -> bool:
    """Whether some schedule fails without this sync."""
    for schedule in schedules(disabled):
        try:
            schedule()
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever goes wrong shows that the sync is needed
            return True
    return False


@pytest.mark.parametrize("site", sorted(SITES | SHARED_SITES), ids=lambda site: "<".join(f"{name}" for name, _ in site))
def test_without_any_one_sync_the_model_fails(site: Site) -> None:
    assert breaks_something(site), "this sync protects nothing that the model checks: remove it, or check what it protects"
