"""Where the files of ``config/`` are: in a checkout, after pip, or in a colcon workspace."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

PACKAGE = "ws3d_ros"


def config_folder() -> Path:
    """The folder with ``vocabularies/``, ``sensors/`` and the rest of the shipped configuration.

    The checkout that this file belongs to comes first, then the places where pip puts data files
    (the environment, the user's scheme), then the prefixes of AMENT_PREFIX_PATH.

    Raises:
        FileNotFoundError: when none of them has it; the message lists the places.
    """
    checkout = Path(__file__).resolve().parents[1]
    places = [checkout / "config"] if (checkout / "package.xml").is_file() else []
    places += [prefix / "share" / PACKAGE / "config" for prefix in _prefixes()]
    for place in places:
        if (place / "vocabularies").is_dir():
            return place
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(f"the configuration of {PACKAGE} is not installed; looked in {looked}")


def _prefixes() -> list[Path]:
    user_scheme = sysconfig.get_preferred_scheme("user")
    ament = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    # An install with --prefix or --target: share/ is some folders above this one.
    above = Path(__file__).resolve().parents[2:6]
    return [
        Path(sys.prefix),
        Path(sysconfig.get_path("data")),
        Path(sysconfig.get_path("data", user_scheme)),
        *(Path(prefix) for prefix in ament if prefix),
        *above,
    ]
