"""What pyproject.toml cannot say: the version of package.xml, and folders that move inside."""

from xml.etree import ElementTree

from setuptools import find_namespace_packages, setup

# Beside the package in the source tree, inside it when installed.
INSIDE = {"lane_sad_ros.weights": "weights", "lane_sad_ros.training": "training"}
patterns = [
    name for folder in ("lane_sad_ros", *INSIDE.values()) for name in (folder, f"{folder}.*")
]
packages = find_namespace_packages(include=patterns)

setup(
    version=ElementTree.parse("package.xml").getroot().findtext("version"),
    packages=[
        name if name.startswith("lane_sad_ros") else f"lane_sad_ros.{name}" for name in packages
    ],
    package_dir=INSIDE,
)
