"""Counts, rates, latencies and levels of one camera, at made-up times."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from lane_sad_ros.ros.detector.diagnostics import (
    ERROR,
    OK,
    WARN,
    WINDOW,
    CameraMonitor,
    Report,
    Throttle,
)


def report(monitor: CameraMonitor, now: float, silent: str = "") -> Report:
    return monitor.report(now, silent, "use a profile")


def test_a_steady_camera_is_fine_and_its_rates_are_right():
    monitor = CameraMonitor(100.0)
    for index in range(1, 201):
        now = 100.0 + index / 10
        monitor.received(now)
        if index % 2:
            monitor.dropped(now)
        else:
            monitor.processed(now, lanes_found=2, batch=1)
            monitor.took(now, {"total": 0.020 if index < 200 else 0.120})
    result = report(monitor, 120.0)
    assert (result.level, result.reasons) == (OK, [])
    assert float(result.values["rate in [Hz]"]) == pytest.approx(10, abs=0.2)
    assert float(result.values["rate out [Hz]"]) == pytest.approx(5, abs=0.2)
    assert result.values["frames received"] == "200"
    assert result.values["frames dropped"] == result.values["frames processed"] == "100"
    assert result.values["total median [ms]"] == "20.00"
    assert 20 < float(result.values["total 99th [ms]"]) <= 120
    assert result.values["age of last frame [s]"] == "0.00"


def test_why_frames_had_no_ground_is_told_when_they_have_it_again():
    monitor = CameraMonitor(0.0)
    monitor.no_ground(1.0, "bad_camera_info", "k is all zero", True)
    monitor.on_ground("/camera_info and the parameters")
    result = report(monitor, 1.5)
    assert result.reasons == ["1 frame(s) lately without ground points: k is all zero"]
    assert result.values["ground"] == "/camera_info and the parameters"


def test_rates_of_a_node_that_has_just_started_refer_to_its_age():
    monitor = CameraMonitor(0.0)
    for index in range(10):
        monitor.received(0.1 * index)
    assert report(monitor, 1.0).values["rate in [Hz]"] == "10.00"


def test_a_camera_that_never_sent_and_one_that_stopped():
    monitor = CameraMonitor(0.0)
    assert report(monitor, 1.9).level == OK
    assert monitor.silence(2.1) == 2.1
    silent = report(monitor, 2.1, "nobody publishes /image")
    assert silent.level == WARN
    assert silent.reasons == ["no frame yet: nobody publishes /image"]
    monitor.received(3.0)
    assert report(monitor, 4.9).level == OK
    assert monitor.silence(5.5) == 2.5
    stopped = report(monitor, 5.5, "1 publisher(s)")
    assert stopped.level == WARN
    assert stopped.reasons == ["no frame for 2.5 s: 1 publisher(s)"]


def test_most_frames_dropped_is_a_warning_with_what_helps():
    monitor = CameraMonitor(0.0)
    for index in range(20):
        monitor.received(0.1 * index)
        if index % 2:
            monitor.dropped(0.1 * index)
    assert report(monitor, 2.0).level == OK
    for index in range(20, 30):
        monitor.received(0.1 * index)
        monitor.dropped(0.1 * index)
    result = report(monitor, 3.0)
    assert result.level == WARN
    assert "20 of 30 frames dropped" in result.reasons[0]
    assert "faster engine" in result.reasons[0]
    assert report(monitor, 3.1 + WINDOW).level == OK


def test_bad_and_failed_frames_are_told_apart():
    monitor = CameraMonitor(0.0)
    monitor.failed(1.0, "out of memory")
    monitor.bad(1.1, "short_data", "too short")
    assert report(monitor, 1.5).reasons == [
        "1 frame(s) failed lately: out of memory",
        "1 bad frame(s) lately, the last: too short",
    ]


def test_the_rate_counts_from_when_somebody_listens():
    monitor = CameraMonitor(0.0)
    assert monitor.rate(1.0) is None
    monitor.processed(1.0, lanes_found=1, batch=1)
    monitor.unheard(5.0)
    for index in range(5):
        monitor.processed(6.0 + index / 10, lanes_found=1, batch=1)
    assert monitor.rate(6.5) == pytest.approx(10)


def test_where_the_ground_was_is_forgotten_when_nobody_listens():
    monitor = CameraMonitor(0.0)
    monitor.on_ground("camera_info")
    assert report(monitor, 1.0).values["ground"] == "camera_info"
    monitor.unheard(1.1)
    assert report(monitor, 1.2).values["ground"] == "nobody listens to it"


def test_lost_frames_come_with_what_helps_and_are_forgotten_in_time():
    monitor = CameraMonitor(0.0)
    monitor.received(1.0)
    monitor.lost(1.0, 7)
    result = report(monitor, 1.5)
    assert result.level == WARN
    assert result.reasons == ["7 frame(s) lost on the way lately: use a profile"]
    monitor.received(2.0 + WINDOW)
    later = report(monitor, 2.0 + WINDOW)
    assert (later.level, later.values["frames lost on the way"]) == (OK, "7")


def test_the_worst_level_wins_and_every_reason_is_told():
    monitor = CameraMonitor(0.0)
    monitor.received(1.0)
    monitor.bad(1.0, "short_data", "too short")
    monitor.failed(1.0, "out of memory")
    result = report(monitor, 1.5)
    message = result.message("lane_detector: camera", "/image", "receiving")
    assert message.level == DiagnosticStatus.ERROR
    assert "1 frame(s) failed lately" in message.message
    assert "1 bad frame(s) lately" in message.message
    assert result.values["frames bad: short_data"] == "1"


def test_a_publisher_that_cannot_be_heard_is_an_error_until_another_one_is():
    monitor = CameraMonitor(0.0)
    monitor.qos_problem("a publisher is best effort")
    assert report(monitor, 0.5).level == ERROR
    monitor.received(1.0)
    assert report(monitor, 1.5).level == WARN


def test_output_without_lanes_is_said():
    monitor = CameraMonitor(0.0)
    monitor.received(1.0)
    monitor.processed(1.0, lanes_found=0, batch=1)
    result = report(monitor, 1.5)
    assert (result.level, result.reasons) == (OK, ["no lanes in the last 1 frame(s)"])
    monitor.processed(1.6, lanes_found=2, batch=1)
    assert report(monitor, 1.7).reasons == []


def test_warnings_are_throttled_by_subject():
    throttle = Throttle(5.0)
    assert throttle.due("a", 0.0)
    assert not throttle.due("a", 4.9)
    assert throttle.due("b", 4.9)
    assert throttle.due("a", 5.0)
