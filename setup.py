"""Plain `pip install` of the Python part; the ROS package is built by colcon (CMakeLists.txt)."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent
# One place for the version: the manifest that ROS tools read.
VERSION = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")

setup(
    name="lane_sad_ros",
    version=VERSION,
    description="Lane detection with ENet-SAD (self attention distillation) for ROS 2 and Python",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[
        *find_namespace_packages(include=["lane_sad_ros", "lane_sad_ros.*"]),
        "lane_sad_ros.weights",
    ],
    # The shipped weights lie beside the package in the source tree, inside it when installed.
    package_dir={"lane_sad_ros.weights": "weights"},
    package_data={
        "lane_sad_ros.reports": ["templates/*"],
        "lane_sad_ros.weights": ["*.safetensors", "*.md"],
    },
    install_requires=[
        "Jinja2>=3.0",
        "numpy>=1.24",
        "opencv-python-headless>=4.6,<5",
        "PyYAML>=5.4",
        "rosbags>=0.11",
        "safetensors>=0.4",
        "torch>=2.4",
        "tqdm>=4.60",
    ],
    entry_points={"console_scripts": ["lane_sad = lane_sad_ros.cli:main"]},
)
