"""The spool: where an acknowledged object lives until it is in S3. All that is durable of it is written here.

Format
    <spool>/lock                                   held (flock) by the one receiver of this spool, whatever its workers
    <spool>/sequence                               the last sequence number that was given to an association
    <spool>/sequence.lock                          held (flock) while a worker takes the next one
    <spool>/out/<boot id>/lock                     held (flock) by the process that owns the folder
    <spool>/out/<boot id>/<association id>/
        association.json                           who opened it, when; the limits of a part and of an object
        000001.tmp                                 an object that is arriving
        000001-20261124T021501123Z.dcm             an object: its number in order of arrival, when it was durable
        000001.unacknowledged                      empty: the object of this number was answered 0xA700, though it is kept
        member-1-ended.json                        with AHI_INGEST_COALESCE_SECONDS: how and when the association ended
        member-2.json, member-2-ended.json ...     one that went on in its folder; the number of its first object; its end
        placed.tmp                                 of many objects, what was placed: for the memory's sake (scratch.py)
        sealed.json                                how and when the association ended, its sequence number
        manifest.json, part-1.json ...             what is announced; present once every object is in S3
    <spool>/out/<boot id>/removed-<association id>/   announced; being removed
    <spool>/out/<boot id>/removed-files/           files of what was removed, for new objects (recycling.py)
    <spool>/quarantine/                            copies of quarantined objects, for who looks into them (quarantine.py)
    <spool>/associations/, commitment.sqlite, pid  not the spool's: counts of receiver/dicom/counts.py, the ledger of
                                                   receiver/commitment, the process to signal

Invariants
    - A name ending in `.dcm` or `.json` holds its whole content durably: data is synced before the rename gives the name.
    - An object that was answered 0x0000 is durable: its data, its name, and every folder above it. Not each that is durable
      was answered so: the process may have died before, or S3 did not confirm it in time, which a mark says.
    - Objects are numbered in order of arrival. S3 keys, parts, what is a repeat, and what is quarantined and why follow from
      the objects in this order and from association.json alone (receiver/placement.py), so that a crash changes none of it.
    - A folder is written by the holder of its boot folder's lock only. The kernel drops the lock with the process, so that a
      worker never touches what a sibling still fills, and takes over what a dead one left.
    - The associations that share a folder follow each other. Who brought an object is durable when the object is.
    - What is sealed takes no more objects. A sequence number is given once.
    - What an fsync failed on is never synced again: the file is discarded; a folder that failed takes no more objects.

Order, and what a crash leaves (by name in receiver/spool/leftover.py)
    1 make the folder, association.json, sync the boot folder         NOTHING_STORED: removed
    2 write NNNNNN.tmp, fdatasync, rename, sync the folder, 0x0000    NOTHING_STORED, or NOT_ENDED: sealed now, as `recovered`
      or move a file from removed-files, write over it, cut it to its new size, fdatasync and so on: the same
    3 the association ends: sequence synced, sealed.json synced       NOT_ENDED
      or, where others may go on in the folder (members.py):
      a member-1-ended.json, sync                                     NOT_ENDED
      b member-2.json; its objects as in 2                            BETWEEN_MEMBERS: sealed now, as its members ended
      c member-2-ended.json, sync, and so on; 3 when none comes       NOT_ENDED; BETWEEN_MEMBERS
    4 every object PUT                                                SEALED: all are PUT, those that S3 has already too
    5 part-N.json, manifest.json, sync; PUT; SendMessage              SEALED; MANIFEST_KEPT: PUT and sent, the same bytes
    6 rename to removed-..., sync, remove                             MANIFEST_KEPT, or BEING_REMOVED: removal goes on
      what is removed, or moved to removed-files, has no name that a start would take for an object's any more
Half-written temporary files are removed whatever is left.
"""

from receiver.spool.documents import Seal, StartFacts
from receiver.spool.folder import AssociationFolder, ObjectWriter, SpoolBrokenError, StoredObject
from receiver.spool.owner import Spool, SpoolInUseError, own_spool

__all__ = [
    "AssociationFolder",
    "ObjectWriter",
    "Seal",
    "Spool",
    "SpoolBrokenError",
    "SpoolInUseError",
    "StartFacts",
    "StoredObject",
    "own_spool",
]
