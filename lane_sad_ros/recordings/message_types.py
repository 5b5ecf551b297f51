"""The message types of bags, which need no ROS."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from lane_sad_ros.messages.lanes import Messages


class BagError(ValueError):
    """A bag that cannot be read or written; the text is one line for the user."""


def message_folder() -> Path:
    """The folder with this package's .msg files, of an installation or of the source tree.

    Raises BagError where there is none.
    """
    package = Path(__file__).parent.parent
    places = [package.parent / "msg"]
    places += [parent / "share" / package.name / "msg" for parent in package.parents]
    for place in places:
        if any(place.glob("*.msg")):
            return place
    raise BagError(
        f"no message definitions of {package.name} beside {package} or in a share folder above it; "
        "install the whole package"
    )


@functools.cache
def typestore() -> Typestore:
    """The ROS 2 message types, with those of this package; `typestore().types[name]` is a class."""
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions: dict[str, Any] = {}
    for file in sorted(message_folder().glob("*.msg")):
        name = f"lane_sad_ros/msg/{file.stem}"
        definitions.update(get_types_from_msg(file.read_text(encoding="utf-8"), name))
    store.register(definitions)
    return store


def _empty(name: str) -> Any:
    """A message with all fields zero; the classes of a typestore have no defaults."""
    fields = typestore().fielddefs[name][1]
    return typestore().types[name](**{field: _zero(kind) for field, kind in fields})


def _zero(kind: Any) -> Any:
    nature, detail = kind
    if nature == Nodetype.NAME:
        return _empty(detail)
    if nature == Nodetype.BASE:
        return {"string": "", "bool": False}.get(detail[0], 0)
    (nature, item), count = detail
    if nature == Nodetype.BASE and item[0] != "string":
        return np.zeros(count if kind[0] == Nodetype.ARRAY else 0, item[0])
    return [_zero((nature, item)) for _ in range(count if kind[0] == Nodetype.ARRAY else 0)]


MESSAGES = Messages(lambda name: typestore().types[name], _empty, np.asarray)
