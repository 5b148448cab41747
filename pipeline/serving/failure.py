"""A request that has no answer, and the status that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transforms.errors import ItemError, is_retryable

BAD_REQUEST = 400
INTERNAL_ERROR = 500
UNAVAILABLE = 503

_REASONS = 3
_CHARS = 500


class RequestFailed(Exception):
    """A request has no answer.

    Attributes:
        status: Of HTTP.
        message: For the client; no secret, and no stack.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class InstanceInvalid(ValueError):
    """An instance is not what the signature takes."""


def failure_of(problems: Mapping[int, Exception]) -> RequestFailed:
    """Make one failure of what is wrong with some instances of a request.

    The V1 protocol answers for all instances or for none. So the message names each position that is bad, and
    the client may send the others again.

    Args:
        problems: By the positions of the instances, in order; at least one.
    """
    reasons = list(dict.fromkeys(map(_reason, problems.values())))
    shown = "; ".join(reasons[:_REASONS])
    others = f"; and {len(reasons) - _REASONS} other reasons" if len(reasons) > _REASONS else ""
    return RequestFailed(
        _status(list(problems.values())), f"instances {_ranges(list(problems))}: {shown}{others}"
    )


def _status(errors: Sequence[Exception]) -> int:
    """Tell whose fault it is: the server's, where an error is none of an item's; or of what may pass."""
    if not all(isinstance(error, (ItemError, InstanceInvalid)) for error in errors):
        return INTERNAL_ERROR
    return UNAVAILABLE if all(map(is_retryable, errors)) else BAD_REQUEST


def _reason(error: Exception) -> str:
    text = str(error)[:_CHARS]
    return text if isinstance(error, InstanceInvalid) else f"{type(error).__name__}: {text}"


def _ranges(positions: Sequence[int]) -> str:
    """Write positions as `0, 3-5`."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
