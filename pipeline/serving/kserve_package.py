"""KServe, which is an extra."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import warnings
from typing import Any

PACKAGE = "kserve"
REMEDY = "pip install '.[serving]'"

_NOWHERE = logging.NullHandler()  # with none at all, KServe would configure the logging


def is_installed() -> bool:
    """Tell whether there is a KServe; nothing is imported."""
    return importlib.util.find_spec(PACKAGE) is not None


def import_kserve(module: str) -> Any:
    """Import one of KServe's modules.

    It reads the command line when it is imported, some of whose flags have the names of ours; and it logs
    each request, and each refusal with its stack.
    """
    for name in (PACKAGE, f"{PACKAGE}.trace"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.addHandler(_NOWHERE)
    warnings.filterwarnings("ignore", "ORJSONResponse is deprecated")  # KServe's, not ours
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        return importlib.import_module(module)
    finally:
        sys.argv = arguments
