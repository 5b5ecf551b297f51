"""Lanes that stay what they are from frame to frame: a filter over time, in the image alone.

Each slot has a track: a Kalman filter of constant velocity on the lane's column in each of a fixed
set of rows, and a two-state Bayes filter (the lane exists or not) with hysteresis. After T seconds

    column ← column + T · velocity      uncertainty grows by  q² · [T³/3  T²/2; T²/2  T]

and the odds of existence are multiplied by p / (1 − p) of the detector's probability p. Lengths
across a lane are √(1 + slope²) times as long along the row. docs/tracking.md says what it gains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lane, Lanes

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Rows of the filter, evenly over the image's height: as near to each other as TuSimple's rows.
_ROWS = 72

# What is known of each slot. Columns of rows that have not been seen lately are NaN.
_TRACK = np.dtype(
    [
        ("columns", np.float64, _ROWS),  # pixels
        ("speeds", np.float64, _ROWS),  # pixels / s
        ("uu", np.float64, _ROWS),  # the covariance of the two: pixels²,
        ("us", np.float64, _ROWS),  # pixels² / s,
        ("ss", np.float64, _ROWS),  # pixels² / s²
        ("slopes", np.float64, _ROWS),  # columns per row
        ("unseen", np.float64, _ROWS),  # seconds
        ("misfits", np.int64),  # detections in a row that did not fit
        ("probability", np.float64),  # that the lane exists
        ("exists", np.bool_),
        ("judged", np.bool_),  # whether `exists` says anything yet
        ("points", np.object_),  # N×3, as last given out
    ]
)


@dataclass(frozen=True)
class TrackerSettings:
    """What the filter takes for granted. Lengths are shares of the image's width.

    noise: standard deviation of a detection of score 1, across the lane (two pixels of 1280, as
        measured on highways); of score s it is noise / s.
    agility: how fast velocities across the lane may change, the root of the density of a white
        acceleration, in widths / s^1.5: in t seconds a velocity wanders by agility * sqrt(t). More
        of it follows faster and smooths less.
    start_speed: standard deviation of a new lane's velocity, widths / s: a quick lane change.
    gate: a detection that is off the prediction by more than this many standard deviations (root
        of the mean square over its rows) is not taken for the lane.
    misfits: so many detections in a row that do not fit start the track anew. With two, a single
        outlier is ignored and a true jump is a frame late.
    reach: lines with less than this between them, on average over their rows, may be one marking;
        markings are several times as far apart.
    evidence: a frame where a lane is found, or not found, says at least and at most this for it, or
        against it, as a probability. Whether it is found is the detector's threshold to decide.
    alike: frames nearer in time than this err alike, so that each says less; seconds.
    change: lanes come and go at this rate, 1/s; what is known of their existence fades with it.
    appear, vanish: filtered existence probabilities above and below which a lane comes and goes.
    coast: seconds that a lane is continued without detections.
    gap: seconds between two frames after which tracking starts anew.
    """

    noise: float = 0.0015
    agility: float = 0.1
    start_speed: float = 0.1
    gate: float = 6.0
    misfits: int = 2
    reach: float = 0.05
    evidence: tuple[float, float] = (0.6, 0.9)
    alike: float = 0.05
    change: float = 1.0
    appear: float = 0.7
    vanish: float = 0.3
    coast: float = 0.4
    gap: float = 1.0


class LaneTracker:
    """Follows the lanes of one camera. The same frames give the same lanes."""

    def __init__(self, settings: TrackerSettings = TrackerSettings()) -> None:
        self.settings = settings
        self._tracks: _Tracks | None = None
        self._size = (0, 0)
        self._stamp_ns = 0

    def reset(self) -> None:
        """Forgets everything: the next frame is the first one."""
        self._tracks = None

    def update(self, lanes: Lanes, stamp_ns: int) -> Lanes:
        """The lanes of the next frame, filtered. stamp_ns: of the image, nanoseconds.

        A lane has the rows and scores of its detection, or those of its last one while it is
        continued without; probabilities are the filtered ones; `ground` is None. Tracking starts
        anew, with the lanes as they were detected, where the stamp does not advance or advances
        by more than `gap`, and where the image's size or the number of slots changes.
        """
        seconds = (stamp_ns - self._stamp_ns) * 1e-9
        tracks = self._tracks
        if (
            tracks is None
            or not 0.0 < seconds <= self.settings.gap
            or lanes.image_size != self._size
            or len(lanes) != tracks.slots
        ):
            tracks = _Tracks(len(lanes), lanes.image_size, self.settings)
            seconds = 0.0
        self._tracks, self._size, self._stamp_ns = tracks, lanes.image_size, stamp_ns
        seen = _Seen(lanes, tracks.rows)
        tracks.predict(seconds)
        tracks.shift(seen)
        followed = tracks.follow(seen)
        tracks.judge(seen, seconds)
        return tracks.lanes(lanes, seen, followed)


class _Seen:
    """The detections of one frame on the filter's rows: arrays are slots×rows or slots."""

    def __init__(self, lanes: Lanes, rows: Array) -> None:
        shape = len(lanes), len(rows)
        self.probability = np.array([lane.probability for lane in lanes], np.float64)
        self.exists = np.array([lane.exists and len(lane.points) > 1 for lane in lanes], bool)
        self.columns = np.full(shape, np.nan)
        self.scores = np.zeros(shape)
        self.slopes = np.zeros(shape)
        step = rows[1] - rows[0]
        for slot in np.flatnonzero(self.exists):
            u, v, score = lanes[slot].points[::-1].astype(np.float64).T  # from the top
            slopes = np.gradient(u, v)
            # One row more at either end, so that the rows enclose the points.
            inside = (rows > v[0] - step) & (rows < v[-1] + step)
            at = rows[inside]
            columns = np.interp(at, v, u)
            columns += np.minimum(at - v[0], 0) * slopes[0] + np.maximum(at - v[-1], 0) * slopes[-1]
            self.columns[slot, inside] = columns
            self.scores[slot, inside] = np.interp(at, v, score)
            self.slopes[slot, inside] = np.interp(at, v, slopes)


class _Tracks:
    """The tracks of all slots of one camera."""

    def __init__(self, slots: int, size: tuple[int, int], settings: TrackerSettings) -> None:
        self._width, height = size
        self.slots = slots
        self.rows = (np.arange(_ROWS) + 0.5) * height / _ROWS - 0.5
        self._depths = self.rows / height
        self._settings = settings
        blank = np.zeros(1, _TRACK)
        blank["columns"] = np.nan
        blank["probability"] = 0.5
        blank["points"][0] = np.empty((0, 3), np.float32)
        self._blank = blank
        self._tracks = np.repeat(blank, slots)

    def predict(self, seconds: float) -> None:
        """Moves all tracks on in time."""
        tracks, settings = self._tracks, self._settings
        density = (settings.agility * self._width * np.hypot(1, tracks["slopes"])) ** 2
        tracks["columns"] += tracks["speeds"] * seconds
        tracks["uu"] += seconds * (2 * tracks["us"] + seconds * tracks["ss"])
        tracks["uu"] += density * seconds**3 / 3
        tracks["us"] += seconds * tracks["ss"] + density * seconds**2 / 2
        tracks["ss"] += density * seconds
        tracks["unseen"] += seconds
        tracks["columns"][tracks["unseen"] > settings.coast] = np.nan
        tracks["probability"] -= (tracks["probability"] - 0.5) * -np.expm1(
            -settings.change * seconds
        )

    def shift(self, seen: _Seen) -> None:
        """Moves the tracks on by one slot where the vehicle has crossed a marking."""
        alike = self._alike(seen)
        votes = {by: np.trace(alike, by) for by in (0, 1, -1)}
        by = max(votes, key=votes.__getitem__)
        # Half a lane's worth of agreement more, so that noise renames no lanes.
        if votes[by] > votes[0] + 0.5:
            self._tracks = np.roll(self._tracks, by)
            self._tracks[0 if by > 0 else -1] = self._blank[0]

    def follow(self, seen: _Seen) -> Flags:
        """Corrects the tracks by their detections; returns the slots where these were taken."""
        tracks, settings = self._tracks, self._settings
        measured, known = ~np.isnan(seen.columns), ~np.isnan(tracks["columns"])
        both = measured & known
        across = self._width * np.hypot(1, seen.slopes)  # as long on a row as a width across
        noise = (settings.noise * across / seen.scores.clip(0.01)) ** 2
        spread = tracks["uu"] + noise
        miss = np.where(both, seen.columns - tracks["columns"], 0.0)
        off = (miss**2 / spread).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        fits = both.any(axis=1) & (off <= settings.gate**2)

        # A marking that one slot follows is not another slot's too, as when it is being crossed.
        elsewhere = self._alike(seen) * (fits[:, None] & ~np.eye(self.slots, dtype=bool))
        astray = seen.exists & ~fits & ~(elsewhere > 0.5).any(axis=0)
        followed = known.any(axis=1)
        tracks["misfits"] = np.where(astray & followed, tracks["misfits"] + 1, 0)
        begin = astray & (~followed | (tracks["misfits"] >= settings.misfits))
        tracks["misfits"][begin] = 0
        tracks["columns"][begin] = np.nan

        # Kalman's correction of the rows that have a state.
        both &= fits[:, None]
        gain = np.where(both, tracks["uu"] / spread, 0)
        speed_gain = np.where(both, tracks["us"] / spread, 0)
        tracks["columns"] += gain * miss
        tracks["speeds"] += speed_gain * miss
        tracks["ss"] -= speed_gain * tracks["us"]
        tracks["us"] -= gain * tracks["us"]
        tracks["uu"] -= gain * tracks["uu"]

        # Rows that are new move like the nearest that are not.
        taken = measured & (fits | begin)[:, None]
        new = taken & np.isnan(tracks["columns"])
        for slot in np.flatnonzero(new.any(axis=1)):
            old, speeds = ~np.isnan(tracks["columns"][slot]), tracks["speeds"][slot]
            speeds[new[slot]] = (
                np.interp(self.rows[new[slot]], self.rows[old], speeds[old]) if old.any() else 0.0
            )
        tracks["columns"][new] = seen.columns[new]
        tracks["uu"][new] = noise[new]
        tracks["us"][new] = 0.0
        tracks["ss"][new] = (settings.start_speed * across[new]) ** 2
        tracks["slopes"][taken] = seen.slopes[taken]
        tracks["unseen"][taken] = 0.0
        self._lead(taken)
        return fits | begin

    def _lead(self, taken: Flags) -> None:
        """Lets the lanes that are not seen in this frame move like those that are.

        taken: slots×rows that are seen. When the camera pitches, lanes move along their slopes;
        when it turns, all alike; when it moves aside, in proportion to the row. These three are
        fitted to the speeds of the lanes seen, each lane counting as one.
        """
        tracks = self._tracks
        lost = ~taken.any(axis=1)
        if lost.all():
            return
        slopes = tracks["slopes"]
        ways = np.stack([slopes, np.ones_like(slopes), np.ones_like(slopes) * self._depths])
        weights = taken / (1 + slopes**2)
        weights /= np.where(lost, 1, weights.sum(axis=1))[:, None]
        # Axes: way, slot, row. A little weight at rest decides where the lanes do not.
        normal = np.einsum("isk,jsk,sk->ij", ways, ways, weights) + 0.1 * np.eye(3)
        wanted = np.einsum("isk,sk,sk->i", ways, weights, tracks["speeds"])
        tracks["speeds"][lost] = np.tensordot(np.linalg.solve(normal, wanted), ways, 1)[lost]

    def judge(self, seen: _Seen, seconds: float) -> None:
        """Updates which lanes exist."""
        tracks, settings = self._tracks, self._settings
        least, most = settings.evidence
        evidence = np.where(
            seen.exists,
            seen.probability.clip(least, most),
            seen.probability.clip(1 - most, 1 - least),
        )
        weight = np.where(tracks["judged"], min(seconds / settings.alike, 1.0), 1.0)
        odds = tracks["probability"] / (1 - tracks["probability"])
        odds *= (evidence / (1 - evidence)) ** weight
        tracks["probability"] = odds / (1 + odds)
        exists = np.where(tracks["judged"], tracks["exists"], seen.exists)
        exists |= tracks["judged"] & (tracks["probability"] > settings.appear)
        exists &= ~tracks["judged"] | (tracks["probability"] >= settings.vanish)
        tracks["exists"] = exists & ~np.isnan(tracks["columns"]).all(axis=1)
        tracks["judged"] = True

    def lanes(self, lanes: Lanes, seen: _Seen, followed: Flags) -> Lanes:
        """The frame's lanes as they are tracked. followed: slots whose detection was taken."""
        result = []
        right = self._width - 1
        for slot, (track, lane) in enumerate(zip(self._tracks, lanes, strict=True)):
            known = ~np.isnan(track["columns"])
            points = track["points"]
            if followed[slot]:
                known &= ~np.isnan(seen.columns[slot])
                moved = track["columns"][known] - seen.columns[slot][known]
                points = lane.points.copy()
                points[:, 0] += np.interp(points[:, 1], self.rows[known], moved)
                points[:, 0] = points[:, 0].clip(0, right)
            elif known.any():
                points = points.copy()
                points[:, 0] = np.interp(points[:, 1], self.rows[known], track["columns"][known])
                points = points[(points[:, 0] >= 0) & (points[:, 0] <= right)]
            else:
                points = points[:0]
            self._tracks["points"][slot] = points
            exists = bool(track["exists"]) and len(points) > 1
            probability = float(track["probability"])
            result.append(Lane(slot, exists, probability, points if exists else points[:0]))
        return Lanes(lanes.image_size, tuple(result))

    def _alike(self, seen: _Seen) -> Array:
        """How well each track agrees with each detection: slots×slots, 0 (not at all) to 1."""
        # Axes: track, detection, row.
        apart = np.abs(self._tracks["columns"][:, None] - seen.columns[None])
        common = ~np.isnan(apart)
        count = common.sum(axis=2)
        mean = np.where(common, apart, 0).sum(axis=2) / np.maximum(count, 1)
        agreement = 1 - mean / (self._settings.reach * self._width)
        return np.where(count > 0, agreement, 0).clip(0)
