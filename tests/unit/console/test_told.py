"""What AWS refuses, as operators read it."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)

from console.aws.told import told
from console.errors import CloudError


def refused(code: str, message: str = "because") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "RedriveExecution")


@pytest.mark.parametrize(
    ("error", "sentence", "code"),
    [
        (refused("AccessDeniedException"), "AWS does not allow states:RedriveExecution: use a role", "AccessDeniedException"),
        (refused("ExecutionNotRedrivable", "Execution is RUNNING"), "Execution is RUNNING", "ExecutionNotRedrivable"),
        (NoCredentialsError(), "There are no AWS credentials", ""),
        (NoRegionError(), "set AWS_REGION", ""),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), "Does the stack still run?", ""),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:9"), "states:RedriveExecution: Read timeout", ""),
    ],
)
def test_each_failure_is_one_sentence_and_keeps_awss_code(error: ClientError | BotoCoreError, sentence: str, code: str) -> None:
    with pytest.raises(CloudError) as raised, told("states:RedriveExecution"):
        raise error
    assert sentence in str(raised.value)
    assert raised.value.code == code
