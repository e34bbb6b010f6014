"""From the spool to the cloud: objects while more arrive, then the manifests, then the message, then the folder goes.

Invariants
    - An object's key is decided in order of arrival (receiver/placement.py), whichever worker reads it first.
    - Manifests are kept in the spool before the first of them is PUT, and only when every object is in S3.
    - The message is sent when every manifest is in S3; the folder is removed when the message was sent, and the commitment
      ledger has its objects.
    - Every step may be repeated, and none is given up: what fails goes to the end of the queue (receiver/upload_workers.py).
    - Memory: a worker holds one object of at most 768 KiB, or 1 MiB of a larger one.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Protocol

from contract import Ending
from contract.keys import manifest_key, part_manifest_key
from contract.manifest import PartManifest
from contract.message import InboundMessage
from contract.strict import from_json, to_json
from receiver.arrivals import Arrivals
from receiver.cloud import SMALL_MAX_BYTES, Cloud
from receiver.commitment.ledger import VerifiedObject
from receiver.counters import Counters
from receiver.index import ObjectIndex, index_bytes, index_object
from receiver.logs import error_text
from receiver.placement import Place, Placement
from receiver.spool import AssociationFolder, StoredObject
from receiver.spool.quarantine import Quarantine

_log = logging.getLogger(__name__)


class _Task(Protocol):
    association: str

    def run(self) -> None: ...


class _NextObject:
    """Stands in the queue once for each object of an association that has arrived: for the first that no worker has taken."""

    def __init__(self, upload: AssociationUpload) -> None:
        self._upload = upload

    def take(self) -> _ObjectTask:
        return self._upload.take()


class UploadLedger(Protocol):
    """Who remembers what S3 has, for storage commitment. Called from several threads; `finish` alone waits for a disk."""

    def verified(self, association: str, verified: VerifiedObject, *, in_s3: int) -> None:
        """S3 has one more object, and of the association now the first `in_s3` in order of arrival."""

    def finish(self, association: str, objects: Iterable[VerifiedObject]) -> None:
        """All of an association is in S3, durably remembered when this returns.

        `objects` are those of which `verified` was not said. Raises OSError.
        """


class Uploads:
    """What has to go to the cloud, in a queue. `UploadWorkers` work on it; tests call `run_next` themselves."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        bucket: str,
        counters: Counters | None = None,
        ledger: UploadLedger | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self.cloud, self.bucket, self.counters = cloud, bucket, counters or Counters()
        self.ledger, self.quarantine = ledger, quarantine
        self.refusal = ""
        """What the cloud refused for good, until something succeeds again."""
        self._tasks: queue.SimpleQueue[_Task | _NextObject | None] = queue.SimpleQueue()
        self._open: dict[str, AssociationUpload] = {}
        self._changed = threading.Condition()

    def begin(self, folder: AssociationFolder) -> AssociationUpload:
        """An association that has just been accepted."""
        upload = AssociationUpload(self, folder)
        with self._changed:
            self._open[upload.association] = upload
        return upload

    def resume(self, folder: AssociationFolder) -> None:
        """An association that a dead process left, sealed. Raises OSError; then it may be called again."""
        objects = () if folder.has_manifest() else folder.objects()  # with a manifest every object is in S3
        upload = self.begin(folder)
        for stored in objects:
            upload.add(stored)
        upload.finish()

    def submit(self, task: _Task | _NextObject) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def run_next(self, timeout_seconds: float = 0) -> bool:
        """Do the next task; False when there was none in time, or `wake` was called.

        Raises what the task raised; the task is at the end of the queue again.
        """
        try:
            task = self._tasks.get(timeout=timeout_seconds)
        except queue.Empty:
            return False
        if task is None:
            return False
        if isinstance(task, _NextObject):
            task = task.take()
        try:
            task.run()
        except BaseException as error:
            self._tasks.put(task)
            error.add_note(task.association)
            raise
        return True

    def wake(self) -> None:
        """Let one `run_next` return that waits for a task."""
        self._tasks.put(None)

    def wait_until_done(self, timeout_seconds: float) -> bool:
        """Whether every association was announced within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_seconds)

    @property
    def open_associations(self) -> int:
        """How many associations are not announced yet."""
        with self._changed:
            return len(self._open)

    @property
    def oldest_received_at(self) -> datetime | None:
        """When the oldest object arrived that is not in S3; None when all are."""
        with self._changed:
            uploads = list(self._open.values())
        return min((at for upload in uploads if (at := upload.oldest_received_at)), default=None)

    def closed(self, association: str) -> None:
        """An association is announced and removed, or nothing was stored of it."""
        with self._changed:
            self._open.pop(association, None)
            self._changed.notify_all()


class AssociationUpload:
    """The upload of one association. `add` and `end` are called by whoever receives it, one call at a time."""

    def __init__(self, uploads: Uploads, folder: AssociationFolder) -> None:
        self.uploads, self.folder = uploads, folder
        self.association = folder.facts.association
        self._placement = Placement(folder.facts, folder.scratch())
        self._lock = threading.Lock()
        self._arrivals = Arrivals()
        self._taken = self._placed = self._done = 0
        self._next = _NextObject(self)
        self._confirmations: dict[int, threading.Event] = {}  # by number of arrival
        self._waiting: dict[int, _ObjectTask] = {}  # read, but an earlier object is not yet
        self._repeats: dict[int, list[_ObjectTask]] = {}  # by the number of arrival of what they wait for
        self._ended: tuple[Ending, datetime] | None = None
        self._finishing = self._announced = False

    def add(self, stored: StoredObject, confirmed: threading.Event | None = None) -> None:
        """One more object is durable. `confirmed` is set once it, or the object that it repeats, is in S3."""
        with self._lock:
            if confirmed is not None:
                self._confirmations[len(self._arrivals)] = confirmed
            self._arrivals.add(stored)
        self.uploads.submit(self._next)

    def take(self) -> _ObjectTask:
        """The first object that no worker has taken yet."""
        with self._lock:
            task = _ObjectTask(self, self._arrivals.stored(self._taken, self.folder.path), self._taken)
            self._taken += 1
        return task

    def end(self, ending: Ending, ended_at: datetime) -> None:
        """No more objects. The association is sealed here if the disk takes it, otherwise before it is announced."""
        if not self.folder.made:  # a verification, perhaps: nothing to announce or to remove
            self.folder.remove()
            self.uploads.closed(self.association)
            return
        self._ended = ending, ended_at
        if self._arrivals:
            try:
                self.folder.seal(ending, ended_at)
            except OSError as error:
                _log.error(
                    "seal failed, will be tried again", extra={"association": self.association, "error": error_text(error)}
                )
        self.finish()

    def finish(self) -> None:
        """No more objects; the folder is sealed, or `end` said how to."""
        with self._lock:
            self._finishing = True
            complete = self._done == len(self._arrivals)
        if complete:
            self.uploads.submit(self)

    def place(self, task: _ObjectTask) -> bool:
        """Decide the key of an object that was read, and of those after it that waited for it; these are queued.

        False when an earlier object is still being read: whoever places it queues this one. Raises OSError, of this object
        alone; then it may be called again.
        """
        with self._lock:
            self._waiting[task.arrival] = task
            while one := self._waiting.get(self._placed):
                assert one.index is not None  # noqa: S101 - it was read
                try:
                    one.place = self._placement.add(one.index, one.stored.size_bytes, one.stored.received_at)
                except OSError:
                    del self._waiting[self._placed]
                    if one is task:
                        raise
                    self.uploads.submit(one)  # it is told when its turn comes
                    break
                one.verified = VerifiedObject(one.index.sop_class_uid, one.index.sop_instance_uid, one.place.quarantined)
                one.index = None
                del self._waiting[self._placed]
                self._placed += 1
                if one is not task:
                    self.uploads.submit(one)
            return task.place is not None

    def object_done(self, task: _ObjectTask, place: Place) -> None:
        """One more object is in S3, or is a repeat: that is done when what it repeats is."""
        with self._lock:
            if place.repeats is not None and not self._arrivals.is_in_s3(place.repeats):
                self._repeats.setdefault(place.repeats, []).append(task)
                return
            done = [task, *self._repeats.pop(task.arrival, ())]
            self._done += len(done)
            for one in done:
                self._arrivals.is_now_in_s3(one.arrival)
                if self.uploads.ledger is not None:
                    assert one.verified is not None  # noqa: S101 - it was placed
                    self.uploads.ledger.verified(self.association, one.verified, in_s3=self._arrivals.first_in_s3)
            confirmed = [self._confirmations.pop(one.arrival, None) for one in done]
            complete = self._finishing and self._done == len(self._arrivals)
        for event in confirmed:
            if event is not None:
                event.set()
        if complete:
            self.uploads.submit(self)

    @property
    def oldest_received_at(self) -> datetime | None:
        """When the oldest object arrived that is not in S3; None when all are."""
        with self._lock:
            return self._arrivals.oldest_received_at

    def run(self) -> None:
        """Announce the association, and remove its folder. Raises CloudError, OSError."""
        folder, cloud = self.folder, self.uploads.cloud
        if not self._arrivals and folder.sealed is None:  # nothing could be stored
            folder.remove()
            self.uploads.closed(self.association)
            return
        if folder.sealed is None and self._ended is not None:
            folder.seal(*self._ended)
        if not self._announced:
            self._announce(cloud)
            self._announced = True
        if self.uploads.ledger is not None:
            self.uploads.ledger.finish(self.association, () if self._arrivals else _objects_of(folder))
        folder.remove()
        self.uploads.closed(self.association)

    def _announce(self, cloud: Cloud) -> None:
        folder = self.folder
        manifest = folder.kept_manifest()
        if manifest is None:
            assert folder.sealed is not None  # noqa: S101 - `run` sealed it
            manifest = self._placement.manifest(folder.sealed, folder.members(folder.sealed.ended_at))
            folder.keep_manifests(manifest, self._placement.parts_json())
        for number in (part.part for part in manifest.parts):
            key, path = part_manifest_key(manifest.edge, manifest.association, number), folder.kept_part(number)
            cloud.put_file(key, partial(folder.files.open, path), folder.files.size(path))
        cloud.put_bytes(manifest_key(manifest.edge, manifest.association), folder.kept_bytes())
        cloud.send_message(to_json(InboundMessage.announcing(manifest, self.uploads.bucket)).decode())
        if manifest.quarantined and self.uploads.quarantine is not None:
            self.uploads.quarantine.keep_if_possible(manifest, folder.objects())
        last_at = self._arrivals.received_at(len(self._arrivals) - 1) if self._arrivals else manifest.ended_at
        seconds = (folder.now() - last_at).total_seconds()
        self.uploads.counters.association_announced(
            quarantined=len(manifest.quarantined), unchecked=self._placement.unchecked, seconds=max(0.0, seconds)
        )
        _log.info(
            "association announced",
            extra={
                "association": self.association,
                "ending": str(manifest.ending),
                "objects": manifest.objects,
                "quarantined": len(manifest.quarantined),
                "unchecked": self._placement.unchecked,
                "size_bytes": manifest.size_bytes,
                "identical_repeats": manifest.identical_repeats,
                "parts": len(manifest.parts),
                "members": len(manifest.members),
            },
        )


class _ObjectTask:
    """One object: read it, place it, PUT it."""

    __slots__ = ("arrival", "association", "index", "place", "stored", "upload", "verified")

    def __init__(self, upload: AssociationUpload, stored: StoredObject, arrival: int) -> None:
        self.upload, self.stored, self.arrival = upload, stored, arrival
        self.association = upload.association
        self.place: Place | None = None  # None while it is not read, or an earlier one is not
        self.verified: VerifiedObject | None = None  # what the ledger is to remember; None while it is not placed
        self.index: ObjectIndex | None = None  # while it is read and not placed

    def run(self) -> None:
        """Raises CloudError, OSError, Part10Error."""
        files, stored, content = self.upload.folder.files, self.stored, None
        if self.place is None:
            if self.index is None:
                if stored.size_bytes <= SMALL_MAX_BYTES:
                    with files.open(stored.path) as file:
                        content = file.read()
                    self.index = index_bytes(content)
                else:
                    self.index = index_object(lambda: files.open(stored.path))
            if not self.upload.place(self):
                return
        assert self.place is not None  # noqa: S101 - whoever placed it queued it
        if not self.place.repeat:
            cloud = self.upload.uploads.cloud
            if content is not None:
                cloud.put_bytes(self.place.key, content)
            else:
                cloud.put_file(self.place.key, lambda: files.open(stored.path), stored.size_bytes)
        self.upload.object_done(self, self.place)


def _objects_of(folder: AssociationFolder) -> Iterator[VerifiedObject]:
    """What the kept manifests list. Raises OSError."""
    manifest = folder.kept_manifest()
    assert manifest is not None  # noqa: S101 - it was announced
    for part in manifest.parts:
        with folder.files.open(folder.kept_part(part.part)) as file:
            entries = from_json(PartManifest, file.read()).entries
        for entry in entries:
            yield VerifiedObject(entry.sop_class_uid, entry.sop_instance_uid, quarantined=False)
    for one in manifest.quarantined:
        yield VerifiedObject(one.sop_class_uid, one.sop_instance_uid, quarantined=True)
