"""An edge's contract.commitment.ImportQuestion -> ImportAnswer: what HealthImaging has made of its objects, so far.

EDGE_ID    the edge that is answered. Each edge has a function of its own, which its identity alone may invoke: what the
           question says cannot make it another's.
"""

from __future__ import annotations

import json
import os
from typing import Any

from contract.commitment import ImportAnswer, ImportQuestion
from contract.strict import from_plain, to_json
from lambdas.catalog.answers import import_results
from lambdas.handlers.environment import catalog, log


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    question, edge = from_plain(ImportQuestion, event), os.environ["EDGE_ID"]
    results = catalog().transaction(lambda cursor: import_results(cursor, edge, question.objects))
    log.info("Answered", edge=edge, objects=len(results))
    answer: dict[str, Any] = json.loads(to_json(ImportAnswer(results=tuple(results))))
    return answer
