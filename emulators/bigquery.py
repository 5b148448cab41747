"""BigQuery: bqemulator, in a virtual environment of its own, which `run_tests.sh` prepares."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from emulators.processes import MissingProgram, free_port, running
from emulators.pubsub import PROJECT
from transforms.sinks.bigquery_tables import EMULATOR_VARIABLE

ENVIRONMENT = Path(__file__).parents[1] / ".venv-bqemulator"

# It loads DuckDB's extension for geography, and would download it if it were not installed.
_START = """
from duckdb_extensions import import_extension
import_extension("spatial")
from bqemulator.cli import main
main()
"""


@contextlib.contextmanager
def bigquery_emulator(gcs_root: str | None = None) -> Iterator[str]:
    """Start an empty BigQuery, and yield its address, which goes into `BIGQUERY_EMULATOR_HOST`.

    Args:
        gcs_root: The folder in which fake-gcs-server keeps its objects, for load jobs; None for no such jobs.

    Raises:
        MissingProgram: It is not installed.
    """
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        raise MissingProgram(f"needs bqemulator in {ENVIRONMENT}: ./run_tests.sh puts it there at its start")
    port = free_port()
    flags = ("start", "--ephemeral", "--rest-port", str(port), "--grpc-port", "0", "--log-level", "warning")
    environment = {
        "HOME": str(
            ENVIRONMENT
        ),  # where DuckDB keeps its extensions: nothing is left outside of the repository
        "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",  # they would be downloaded
        **({"BQEMU_GCS_LOCAL_ROOT": gcs_root} if gcs_root else {}),
    }
    with running([str(python), "-I", "-c", _START, *flags], port, **environment):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def bigquery_client_of(host: str) -> Iterator[Any]:
    """Point the clients of this process to a server, Beam's two included, and yield one.

    Without credentials of Google's each of Beam's would search for some, for half a minute.
    """
    from apache_beam.io.gcp.internal.clients.bigquery import BigqueryV2
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    nobody = mock.patch("google.auth.default", return_value=(AnonymousCredentials(), PROJECT))
    address = mock.patch.object(BigqueryV2, "BASE_URL", f"{host}/bigquery/v2/")
    with nobody, address, mock.patch.dict(os.environ, {EMULATOR_VARIABLE: host}):
        yield bigquery.Client(PROJECT, credentials=AnonymousCredentials())
