"""What workers install over their image: Beam looks for it when all else is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from apache_beam.options.pipeline_options import SetupOptions

from transforms import storage

_PACKAGES = (".tar", ".tar.gz", ".whl", ".zip")


def package_problems(setup: SetupOptions) -> Iterator[str]:
    """Tell of files that are not there, or are none that workers can install."""
    setup_file = setup.setup_file
    if setup_file is not None and not (Path(setup_file).is_file() and Path(setup_file).name == "setup.py"):
        yield (
            f"--setup_file {setup_file}: must be the setup.py of a checkout of beam-predict; or pass "
            "--sdk_container_image with an image that has it"
        )
    if setup.requirements_file is not None and not Path(setup.requirements_file).is_file():
        yield f"--requirements_file {setup.requirements_file}: there is no such file on this machine"
    for package in setup.extra_packages or ():
        if not package.endswith(_PACKAGES):
            yield f"--extra_package {package}: must be a file whose name ends in {', '.join(_PACKAGES)}"
        elif storage.is_local(package) and not Path(package).is_file():
            yield f"--extra_package {package}: there is no such file on this machine"
