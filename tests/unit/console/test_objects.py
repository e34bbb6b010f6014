"""Objects that the console reads whole."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.response import StreamingBody

from console.aws.objects import Objects
from console.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = b"the whole object"


def objects(bodies: Iterator[bytes]) -> Objects:
    """S3 that sends so much of an object, before the line breaks."""

    def get_object(**_: Any) -> dict[str, Any]:
        return {"Body": StreamingBody(BytesIO(next(bodies)), len(WHOLE))}

    client: Any = SimpleNamespace(get_object=get_object)
    return Objects(client)


def test_an_object_whose_body_broke_off_is_read_again() -> None:
    file = BytesIO()
    objects(iter([WHOLE[:5], WHOLE[:1], WHOLE])).download("bucket", "key", file)
    assert file.getvalue() == WHOLE


def test_a_line_that_breaks_each_time_is_told_in_a_sentence() -> None:
    with pytest.raises(CloudError, match="s3:GetObject: "):
        objects(iter(lambda: WHOLE[:5], None)).download("bucket", "key", BytesIO())
