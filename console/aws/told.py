"""What AWS refuses, in an operator's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from console.errors import CloudError

_DENIED = {"AccessDenied", "AccessDeniedException", "403"}


@contextmanager
def told(action: str) -> Iterator[None]:
    """Turns botocore's errors into sentences for operators."""
    try:
        yield
    except ClientError as error:
        code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if code in _DENIED:
            raise CloudError(f"AWS does not allow {action}: use a role that has this right.", code) from None
        raise CloudError(f"{action}: {code}: {said}", code) from None
    except NoCredentialsError:
        raise CloudError("There are no AWS credentials: run `aws sso login` or set AWS_PROFILE, then try again.") from None
    except NoRegionError:
        raise CloudError("No AWS region is set: set AWS_REGION to the stack's, then try again.") from None
    except EndpointConnectionError as error:
        raise CloudError(f"{action}: {error} Does the stack still run?") from None
    except BotoCoreError as error:
        raise CloudError(f"{action}: {error}") from None
