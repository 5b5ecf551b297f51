"""A procedural road renderer with exact lane labels.

``sample_scene(rng)`` makes a random scene, ``render(scene)`` its picture and labels.
"""

from .camera import Camera, sample_camera
from .drive import DURATION, RATE, Drive, drive_camera
from .render import Rendering, render
from .road import Marking
from .sampling import sample_scene
from .spec import Scene

__all__ = [
    "DURATION",
    "RATE",
    "Camera",
    "Drive",
    "Marking",
    "Rendering",
    "Scene",
    "drive_camera",
    "render",
    "sample_camera",
    "sample_scene",
]
