"""The one exception that a user is meant to see."""


class UserError(Exception):
    """Bad input or a broken precondition: what, where, and what to do about it, in one line.

    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
