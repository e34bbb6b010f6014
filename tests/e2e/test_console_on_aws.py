"""`--stack`: the commands find an environment on AWS by its stacks' outputs, its secret, and boto3's own configuration."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.support.stack import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stack import RunningStack


def on_aws(stack: RunningStack, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that knows nothing of a state folder: the emulators are its AWS."""
    variables = {
        "AWS_ENDPOINT_URL": stack.endpoints["aws"]["endpoint_url"],
        "AWS_ENDPOINT_URL_SFN": stack.endpoints["stepfunctions"]["endpoint_url"],
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": stack.endpoints["medical_imaging"]["endpoint_url"],
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "CATALOG_TLS": "off",
        "COLUMNS": "250",
    }
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env={**os.environ, **variables, **environment},
    )


def test_an_environment_is_found_by_its_stacks_outputs(stack: RunningStack, tmp_path: Path) -> None:
    listed = on_aws(stack, tmp_path, "queues", "--stack", "ahi-ingest-local")
    assert (listed.returncode, listed.stderr) == (0, "")
    for url in stack.endpoints["queues"].values():
        assert url.rpartition("/")[2] in listed.stdout
    nothing = on_aws(stack, tmp_path, "replay", "--since", "1m", "--dry-run", "--stack", "ahi-ingest-local")
    assert nothing.returncode == 0


def test_what_is_missing_on_aws_is_said(stack: RunningStack, tmp_path: Path) -> None:
    other = on_aws(stack, tmp_path, "list", "--stack", "ahi-ingest-prod")
    assert other.returncode == 1
    assert (
        "There is none of the stacks ahi-ingest-prod-storage, ahi-ingest-prod-catalog, ahi-ingest-prod-ingest" in other.stderr
    )
    nobody = on_aws(
        stack,
        tmp_path,
        *("list", "--stack", "ahi-ingest-local"),
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_EC2_METADATA_DISABLED="true",
        HOME=str(tmp_path),
    )
    assert nobody.returncode == 1
    assert "There are no AWS credentials" in nobody.stderr
