"""How the command ends."""

DONE = 0
FAILED = 1
WRONG_USAGE = 2
TOO_MANY_DEAD_LETTERS = 3
INTERRUPTED = 130


class Ended(Exception):
    """The command ends here; the message says all that its user needs, without a traceback."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
