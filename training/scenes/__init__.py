"""A procedural road renderer with exact lane labels.

``sample_scene(rng)`` makes a random scene, ``render(scene)`` its picture and labels,
``truth(scene)`` the labels alone. docs/scenes.md shows them.
"""

from .drive import DURATION, RATE, Drive, drive_camera
from .mix import Mix
from .render import Rendering, Truth, render, truth
from .road_geometry import Marking
from .sampling import sample_scene
from .scene_camera import SceneCamera, sample_camera
from .spec import Scene

__all__ = [
    "DURATION",
    "RATE",
    "Drive",
    "Marking",
    "Mix",
    "Rendering",
    "Scene",
    "SceneCamera",
    "Truth",
    "drive_camera",
    "render",
    "sample_camera",
    "sample_scene",
    "truth",
]
