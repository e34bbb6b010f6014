"""`python -m receiver` is `ahi-ingest receive`."""

import typer

from receiver.cli import receive

typer.run(receive)
