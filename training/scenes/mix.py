"""How often each condition comes: every share of the random scenes stands here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


def _share(default: float, what: str) -> float:
    return field(default=default, metadata={"help": what})


@dataclass(frozen=True)
class Mix:
    """Shares 0..1 of random scenes (frozen).

    Raises:
        ValueError: a share lies outside 0..1, or two that exclude each other exceed 1 together.
    """

    unmarked: float = _share(0.1, "roads without any marking")
    sparse: float = _share(0.1, "roads with few markings")
    crossroads: float = _share(0.06, "crossroads, which have no lines of their own")
    city: float = _share(0.45, "streets between buildings, of the marked roads")
    overcast: float = _share(0.22, "overcast weather, rain and fog")
    dusk: float = _share(0.1, "dusk")
    night: float = _share(0.18, "night")
    wet: float = _share(0.35, "wet roads, of the overcast and the nights")
    dazzle: float = _share(0.2, "a low sun ahead, of the days and dusks")
    shade: float = _share(0.35, "tree shade, where the sun shines")
    jam: float = _share(0.15, "queues that hide whole lines, of the marked roads")
    symbols: float = _share(0.35, "arrows, words and crossings, of the marked roads")
    bonnet: float = _share(0.4, "the own bonnet or dashboard in the picture")
    dashcam: float = _share(0.35, "cheap recorders: halos, blocks, time stamps")

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 <= (value := getattr(self, each.name)) <= 1:
                raise ValueError(f"{each.name}: {value:g} is not a share between 0 and 1")
        for names in (("unmarked", "sparse", "crossroads"), ("overcast", "dusk", "night")):
            if (total := sum(getattr(self, name) for name in names)) > 1 + 1e-9:
                raise ValueError(f"{' + '.join(names)}: {total:g} together are more than 1")
