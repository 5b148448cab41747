"""Counting on the runner for streams on this machine.

Each thread of Beam's runner remembers, for each step, the state of its first bundle, and with it that
bundle's metrics: what later bundles count would go where nobody looks any more. So a thread has one container
for a step, which is emptied before each bundle.
"""

from __future__ import annotations

import threading

from apache_beam.metrics.execution import MetricsContainer
from apache_beam.runners.direct import executor


class _Containers(threading.local):
    def __init__(self) -> None:
        self.by_step: dict[str, MetricsContainer] = {}


_containers = _Containers()


def count_every_bundle() -> None:
    """Let the runner see what each bundle counts; for all its pipelines in this process."""
    vars(executor)["MetricsContainer"] = _emptied_container


def _emptied_container(step: str) -> MetricsContainer:
    container = _containers.by_step.setdefault(step, MetricsContainer(step))
    container.reset()
    return container
