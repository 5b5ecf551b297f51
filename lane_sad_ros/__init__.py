"""Lane detection with ENet-SAD for ROS 2 and for plain Python.

from lane_sad_ros import LaneDetector
lanes = LaneDetector.from_weights()(image)
"""

from __future__ import annotations

import importlib
import os
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lane_sad_ros.detection import LaneDetector
    from lane_sad_ros.frames import Frame
    from lane_sad_ros.lanes import Lane, Lanes
    from lane_sad_ros.recordings.sources import open_frames
    from lane_sad_ros.road.model import RoadModel

    __version__: str

__all__ = ["Frame", "Lane", "LaneDetector", "Lanes", "RoadModel", "__version__", "open_frames"]

# PyTorch's threads spin while they wait for each other, so that one busy process beside them takes
# most of their time. Here, since every way in comes by before PyTorch is loaded and reads these;
# whoever has set one of them knows better.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ |= {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}

# The generated messages (lane_sad_ros.msg) lie in the installed tree, which may be another folder
# than the one that these modules are imported from.
__path__ = extend_path(__path__, __name__)

# PyTorch and OpenCV take seconds to import: a name brings only what it needs, when it is used.
_HOMES = {
    "Frame": "frames",
    "Lane": "lanes",
    "LaneDetector": "detection",
    "Lanes": "lanes",
    "RoadModel": "road.model",
    "open_frames": "recordings.sources",
}


def _version() -> str:
    """The version in package.xml: beside the package, in a `share` folder above it, or by pip."""
    from importlib import metadata
    from pathlib import Path
    from xml.etree import ElementTree

    module = Path(__file__)
    manifests = [module.parents[1] / "package.xml"]
    manifests += [folder / "share" / __name__ / "package.xml" for folder in module.parents]
    for manifest in filter(Path.is_file, manifests):
        return ElementTree.parse(manifest).findtext("version", "")
    return metadata.version(__name__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
