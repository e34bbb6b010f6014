"""The sections on the whole pipeline: its time, what it asks of AWS, and what AWS asks for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import costs
from bench.end_to_end import COUNTED, OURS, TIMER
from bench.index import OURS as OUR_INDEXING
from bench.index import REFERENCE as ITS_INDEXING
from bench.measure import interval
from bench.report.indexing import seconds_per_object
from bench.report.measurement import Cell, Measurement, compared, conditions, number, shown, table

SECONDS = "seconds_median"
WORK = {
    "transitions": "state transitions",
    "invocations": "Lambda invocations",
    "lambda_ms": "ms in them",
    "gb_s": "GB-s",
    "s3_puts": "S3 PUT, COPY, LIST",
    "s3_gets": "S3 GET",
    "sqs_calls": "SQS calls",
    "secrets": "secrets read",
    "statements": "SQL statements",
}
_POLLED = """\
A running job is asked for its status after {poll_first_seconds} s, then after waits that grow by half to {poll_cap_seconds} s:
on the local stack. As deployed the first wait is 10 s and the longest 60 s (`[polling]`), and half a wait, on average, comes
on top of what was measured. HealthImaging takes one start a second, which many associations at once wait for.
"""
_SHARED = """\
Counted once, on a stack of its own. Lambda's time is that of processes which share this machine's cores: where many slices run
at once each waits for the others, as on Lambda they do not.
"""
_PRICED = """\
{measured} Prices are assumptions, from the list prices of us-east-1 as commonly known (bench/costs.py names their pages):
{prices}. The reference's pattern is rebuilt from its description: S3 announces each object to SQS, and each is read whole, 40
an invocation. Left out on both sides is what does not grow with the objects: databases, endpoints, keys, the timer and the
sweep. Storage, and HealthImaging's own charges and reads, are the same for both. As deployed, longer waits between polls mean
fewer transitions for the same job.
"""


def timer(measurement: Measurement) -> list[float]:
    """Seconds of the reference's pattern, an association each."""
    return [figure for cell in measurement.cells_of(TIMER) for figure in measurement.figures(TIMER, cell, SECONDS)]


def _name(cell: Cell) -> str:
    return f"{cell[1]} of {cell[0]}"


def section(measurements: Sequence[Measurement], indexing: Measurement | None) -> str:
    newest = measurements[0]
    said = newest.document["conditions"]
    its = timer(newest)
    rows = []
    for cell in newest.cells_of(OURS):
        one = interval(newest.figures(OURS, cell, SECONDS))
        ratio = number(interval(its).median / one.median) if its else "-"
        rows.append([_name(cell), shown(one), number(newest.median(OURS, cell, "seconds_most")), ratio])
    out = [
        "## From the release of an association to its image sets in MySQL, less the import job's own time\n",
        conditions(newest),
        table(["associations at once", "s, median", "s, slowest", "the timer's / ours"], rows),
        _POLLED.format(**said),
    ]
    if its:
        out.append(
            f"The reference's pattern, a timer of {said['timer_seconds']:g} s on the same imports: {shown(interval(its))} s, "
            f"{len(its)} associations.\n"
        )
    out.append(
        compared(
            measurements,
            "Seconds",
            lambda one, cell: one.figures(OURS, cell, SECONDS),
            name=_name,
            more_is_better=False,
        )
    )
    if newest.cells_of(COUNTED):
        out += [_counts(newest), _costs(newest, indexing)]
    return "\n".join(out)


def _counted(newest: Measurement) -> list[dict[str, float]]:
    """What was counted, by the number of objects."""
    cells = [
        {name: newest.figures(COUNTED, cell, name)[0] for name in ("objects", "index_gb_s", *WORK)}
        for cell in newest.cells_of(COUNTED)
    ]
    return sorted(cells, key=lambda one: one["objects"])


def _counts(newest: Measurement) -> str:
    rows = [[f"{one['objects']:,.0f}", *(number(one[name]) for name in WORK)] for one in _counted(newest)]
    return "\n".join(
        [
            "### What one association asks of AWS\n",
            table(["objects", *WORK.values()], rows),
            _SHARED,
        ]
    )


def _costs(newest: Measurement, indexing: Measurement | None) -> str:
    """USD for a million objects."""
    our_seconds = seconds_per_object(indexing, OUR_INDEXING) if indexing else None
    its_seconds = seconds_per_object(indexing, ITS_INDEXING) if indexing else None
    rows = []
    for one in _counted(newest):
        objects = one["objects"]
        rows.append([f"{objects:,.0f}: ours", *_usd(costs.ours(one, our_seconds))])
        if its_seconds:
            rows.append([f"{objects:,.0f}: the reference's pattern", *_usd(costs.reference(objects, its_seconds))])
    prices = ", ".join(f"{name} {price:g}" for name, price in costs.PRICES.items())
    measured = (
        f"Indexing takes what one worker needed for a CT object ([above](#indexing-headers-into-the-catalog)): "
        f"{1e3 * our_seconds:.1f} ms at 1 GB for ours, {1e3 * its_seconds:.1f} ms at 4 GB for the reference's."
        if our_seconds and its_seconds
        else "Indexing takes what was counted here; `./dev bench index` gives the reference's."
    )
    return "\n".join(
        [
            "### What AWS asks for a million objects, USD\n",
            table(["objects an association", *costs.ours(_counted(newest)[0]), "sum"], rows),
            _PRICED.format(measured=measured, prices=prices),
        ]
    )


def _usd(by_service: Mapping[str, float]) -> list[str]:
    return [*(f"{usd:,.2f}" for usd in by_service.values()), f"**{sum(by_service.values()):,.2f}**"]
