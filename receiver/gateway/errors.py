"""What keeps a command from doing what it was asked."""


class GatewayError(Exception):
    """The text says what is wrong, and what to do."""
