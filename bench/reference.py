"""The reference's receiver pattern, rebuilt from its description: decode the data set, write it, note it in memory.

    python -m bench.reference PORT FOLDER

What aws-healthimaging-samples' ingestion does in its C-STORE handler, on pynetdicom as it comes. Nothing is synced.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any


def main(port: int, folder: Path) -> None:
    from pynetdicom import AE, AllStoragePresentationContexts, evt  # noqa: PLC0415 - a program of its own

    table: dict[str, dict[str, str]] = {}
    lock = threading.Lock()

    def store(event: Any) -> int:  # pynetdicom's event has no type to import without its private modules
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        path = folder / data_set.StudyInstanceUID / f"{data_set.SOPInstanceUID}.dcm"
        path.parent.mkdir(exist_ok=True)
        data_set.save_as(path, enforce_file_format=True)
        with lock:
            table[data_set.SOPInstanceUID] = {"path": str(path), "series": data_set.SeriesInstanceUID, "status": "received"}
        return 0x0000

    entity = AE()
    entity.maximum_associations = 100
    entity.supported_contexts = AllStoragePresentationContexts
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
