"""What the console prints. Patients' names are shown here, on the operator's own screen, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lambdas.catalog.conflicts import ListedConflict
from lambdas.catalog.ledger import LedgerCounts
from lambdas.catalog.orphans import ListedOrphan
from lambdas.catalog.queries import Association, ImageSet, ImportJob, Member, StoredObject, Study

if TYPE_CHECKING:
    from console.adopting import Adopted
    from console.aws.machines import Run
    from console.history import NotRebuilt
    from console.letters import Depth, Letter, Redriven
    from console.planning import Plan
    from console.replay import Done
    from console.verifying import Verified

OBJECTS_SHOWN = 50
WIDE_COLUMNS = 140
UID_END_CHARACTERS = 8
_WHOLE = {"association", "date", "ImageSetId", "image sets", "instances", "modality", "status"}
_STYLES = {
    "COMPLETE": "green",
    "RUNNING": "cyan",
    "ENDED_EARLY": "yellow",
    "IMPORTED": "green",
    "COMPLETED": "green",
    "SUCCEEDED": "green",
}


def associations(rows: Sequence[Association], console: Console) -> None:
    """The newest associations, one a line."""
    table = _table("Associations", "association", "objects", "ended", "status", "error")
    for row in rows:
        _row(table, row.association, str(row.objects + row.quarantined), row.ending, status(row.status), row.error or "")
    console.print(table if rows else "No associations yet.")


def studies(rows: Sequence[Study], console: Console) -> None:
    """The view `study_list`, one study a line. A narrow terminal shows the ends of UIDs, where they differ."""
    whole = console.width >= WIDE_COLUMNS
    table = _table("Studies", "patient", "date", "modality", "study", "instances", "image sets", "status")
    for row in rows:
        uid = row.study_instance_uid
        _row(
            table,
            *(row.patient_id or "", str(row.study_date or ""), ",".join(row.modalities)),
            uid if whole or len(uid) <= UID_END_CHARACTERS else f"…{uid[-UID_END_CHARACTERS + 1 :]}",
            *(str(row.instance_count), str(row.image_set_count), status(row.status)),
        )
    console.print(table if rows else "No studies yet.")


def association(row: Association, counts: LedgerCounts | None, console: Console) -> None:
    """One association's facts."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    facts = {
        "status": status(row.status),
        "error": row.error,
        "from": f"{row.calling_ae or '?'} at {row.peer or '?'} to {row.called_ae or '?'}, edge {row.edge}",
        "ended": f"{row.ending}, {row.ended_at or '?'} UTC",
        "objects": f"{row.objects} in {row.parts or 0} part(s), {row.quarantined} quarantined, {row.size_bytes:,} bytes",
        "ledger": _ledger(counts) if counts else None,
        "execution": row.execution_arn,
    }
    for name, value in facts.items():
        if value:
            _row(table, Text(name, style="bold"), value)
    console.print(Text(row.association, style="bold"))
    console.print(table)


def members(rows: Sequence[Member], console: Console) -> None:
    """The associations that share a manifest."""
    table = _table("Associations that share its manifest", "association", "objects", "ended", "at (UTC)")
    for row in rows:
        _row(table, row.member, str(row.objects), row.ending, str(row.ended_at))
    if rows:
        console.print(table)


def import_jobs(rows: Sequence[ImportJob], console: Console) -> None:
    """Every attempt at importing, with what ended it."""
    table = _table("Import jobs", "part", "attempt", "job", "status", "imported", "failed", "warned", "error")
    for row in rows:
        counts = ("" if count is None else str(count) for count in (row.imported, row.failed, row.warned))
        error = " ".join(text for text in (row.error, row.cause) if text)
        _row(table, str(row.part), str(row.attempt), row.job_id or "not started", status(row.status), *counts, error)
    if rows:
        console.print(table)


def image_sets(rows: Sequence[ImageSet], console: Console) -> None:
    """The image sets that hold the association's objects."""
    table = _table("Image sets", "series", "ImageSetId", "version", "primary")
    for row in rows:
        primary = "" if row.is_primary is None else "yes" if row.is_primary else "no"
        _row(table, row.series_instance_uid or "", row.image_set_id, str(row.image_set_version or ""), primary)
    if rows:
        console.print(table)


def failed_objects(rows: Sequence[StoredObject], console: Console) -> None:
    """Each object that is not where it should be, and why."""
    if not rows:
        return
    table = _table(f"{len(rows)} object(s) not indexed and imported", "object", "why")
    for row in rows[:OBJECTS_SHOWN]:
        _row(table, row.s3_key, why(row))
    console.print(table)
    for reason, count in Counter(why(row) for row in rows[OBJECTS_SHOWN:]).most_common():
        console.print(Text(f"and {count} more: {reason}"))


def plans(rows: Sequence[Plan], console: Console) -> None:
    """What a replay would do."""
    table = _table("Would be done", "association", "what", "why")
    for row in rows:
        _row(table, row.association, row.act, row.why)
    console.print(table if rows else "Nothing has failed.")


def done(rows: Sequence[Done], console: Console) -> None:
    """What a replay did."""
    table = _table("Done", "association", "what", "why")
    for row in rows:
        _row(table, row.association, Text(row.act, style="red" if row.refused else ""), row.said)
    console.print(table if rows else "Nothing has failed.")


def ends(rows: Sequence[tuple[Done, Run | None]], console: Console) -> None:
    """How the executions ended that a replay had started."""
    table = _table("Ended", "association", "status", "error")
    for one, run in rows:
        _row(table, one.association, status(run.status if run else "GONE"), run.error if run else "")
    if rows:
        console.print(table)


def queues(rows: Sequence[Depth], console: Console) -> None:
    """Each queue, how much waits in it, and since when."""
    table = _table("Queues", "queue", "waiting", "taken", "oldest", "dead letters")
    for row in rows:
        oldest = "" if row.oldest_seconds is None else str(timedelta(seconds=round(row.oldest_seconds)))
        _row(table, row.name, str(row.waiting), str(row.taken), oldest, row.dead_letters)
    console.print(table)


def letters(name: str, rows: Sequence[Letter], console: Console) -> None:
    """Each dead letter of a queue, and why it is there."""
    table = _table(f"{len(rows)} dead letter(s) in {name}", "sent (UTC)", "kind", "about", "why")
    for row in rows:
        _row(table, _sent(row), row.kind, row.about, row.why)
    console.print(table)


def redriven(rows: Sequence[Redriven], console: Console) -> None:
    """What became of each dead letter."""
    table = _table("Done", "sent (UTC)", "about", "it was there because", "now")
    for row in rows:
        one = row.letter
        _row(table, _sent(one), one.about or one.kind, one.why, Text(row.said, style="red" if row.stays else ""))
    console.print(table if rows else "No dead letters.")


def verified(found: Mapping[str, Verified], console: Console) -> None:
    """What the comparison of each study came to, and each difference."""
    table = _table("Compared with HealthImaging", "study", "objects", "not imported", "image sets", "differences")
    for study, one in found.items():
        _row(table, study, str(one.objects), str(one.not_imported), str(one.image_sets), str(len(one.differences)))
    console.print(table)
    differences = [difference for one in found.values() for difference in one.differences]
    if differences:
        table = _table("Differences", "image set", "object", "what")
        for difference in differences[:OBJECTS_SHOWN]:
            _row(table, difference.image_set_id, difference.sop_instance_uid, difference.what)
        console.print(table)
        for what, count in Counter(difference.what for difference in differences[OBJECTS_SHOWN:]).most_common():
            console.print(Text(f"and {count} more: {what}"))


def rebuilt(associations: int, attempts: int, problems: Sequence[NotRebuilt], console: Console) -> None:
    """What was rebuilt, and what could not be."""
    console.print(f"Rebuilt of {associations} association(s) and {attempts} import(s).")
    if problems:
        table = _table(f"{len(problems)} not rebuilt", "association", "why")
        for row in problems:
            _row(table, row.association, row.why)
        console.print(table)


def adopted(rows: Sequence[Adopted], console: Console) -> None:
    """What became of each adopted association."""
    table = _table("Adopted", "association", "what became of it")
    for row in rows:
        _row(table, row.association, Text(row.said, style="red" if row.failed else ""))
    console.print(table if rows else "Nothing there that was not adopted before.")


def _sent(row: Letter) -> str:
    return datetime.fromtimestamp(row.message.sent_at_ms / 1000, UTC).isoformat(sep=" ", timespec="seconds")[:19]


def why(row: StoredObject) -> str:
    """Every reason why an object is neither indexed nor imported, in one line."""
    reasons = []
    if row.quarantine_reason:
        reasons.append(f"quarantined: {row.quarantine_reason}")
    if row.is_foreign:
        reasons.append("foreign: below the import prefix, and in no manifest")
    if row.not_indexed_reason:
        reasons.append(f"not indexed: {row.not_indexed_reason}")
    if row.import_status == "FAILED":
        whose = "HealthImaging's fault" if row.import_fault == "SERVER" else "refused"
        reasons.append(f"not imported, {whose}: {row.import_error}: {row.import_error_message}")
    if row.import_status == "SUPERSEDED":
        reasons.append(f"superseded: {row.import_error_message}")
    if not reasons:
        waiting = [("no index entry", row.indexed_at is None), ("no import result", row.import_status is None)]
        reasons = [text for text, holds in waiting if holds]
    return "; ".join(reasons)


def status(value: str) -> Text:
    """A status, coloured: green is done, red needs somebody."""
    return Text(value, style=_STYLES.get(value, "yellow" if value in {"SUBMITTED", "IN_PROGRESS", "CLAIMED"} else "red"))


def _ledger(counts: LedgerCounts) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {getattr(counts, name)}" for name in counts.__dataclass_fields__)


def orphans(rows: Sequence[ListedOrphan], console: Console) -> None:
    """What the sweep found astray."""
    table = _table("Astray", "association", "edge", "what", "detail", "since (UTC)", "settled (UTC)")
    for row in rows:
        settled = "" if row.settled_at is None else f"{row.settled_at:%Y-%m-%d %H:%M}"
        _row(table, row.association, row.edge, row.kind, row.detail, f"{row.since:%Y-%m-%d %H:%M}", settled)
    console.print(table if rows else "Nothing is astray.")


def conflicts(rows: Sequence[ListedConflict], console: Console) -> None:
    """UIDs with several parents, a parent a line."""
    table = _table("Conflicts", "level", "UID", "parent", "stands", "noticed (UTC)")
    for row in rows:
        parent = _patient(row) if row.level == "study" else row.parent
        _row(table, row.level, row.uid, parent, "yes" if row.stands else "", f"{row.noticed_at:%Y-%m-%d %H:%M}")
    console.print(table if rows else "No conflicts.")


def _patient(row: ListedConflict) -> str:
    return f"patient {row.patient_id or 'without an id'}" + (f" of {row.effective_issuer}" if row.effective_issuer else "")


def _row(table: Table, *values: str | Text) -> None:
    """Values as they are: a patient's id or a message may hold what rich takes for its markup."""
    table.add_row(*(Text(value) if isinstance(value, str) else value for value in values))


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    return table
