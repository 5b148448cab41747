"""Where elements belong in time, for steps whose results leave later than their inputs came."""

from __future__ import annotations

from typing import Any, NamedTuple

from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

Element = WindowedValue | TaggedOutput[str, Any]
"""What such a step yields."""


class Place(NamedTuple):
    """Where an element belongs in time: it may leave during a later element, which belongs elsewhere."""

    timestamp: Any
    window: Any

    def at(self, value: Any) -> WindowedValue:
        """Put a value there."""
        return WindowedValue(value, self.timestamp, (self.window,))
