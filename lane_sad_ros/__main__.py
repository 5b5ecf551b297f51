"""`python -m lane_sad_ros`."""

import sys

from lane_sad_ros.cli import main

sys.exit(main())
