"""Why a command cannot do what it was asked. Each text is a sentence for the operator, and says what to do."""

from __future__ import annotations


class StackNotFoundError(Exception):
    """No stack runs on the state folder, or AWS's lacks something."""


class CloudError(Exception):
    """AWS refused or could not be reached. `code` is AWS's, or empty."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code
