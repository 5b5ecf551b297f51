"""The node `lane_detector`: camera images in, lanes out."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter

from lane_sad_ros.ros import declare, process, qos
from lane_sad_ros.ros.detector.diagnostics import ERROR, WARN, Report, Throttle
from lane_sad_ros.ros.detector.parameters import DetectorParameters
from lane_sad_ros.ros.lifecycle import ResponsiveLifecycleNode

if TYPE_CHECKING:
    from lane_sad_ros.ros.detector.pipeline import Pipeline

_GLANCE = 0.25  # seconds between two looks at how the work goes
_PERIOD = 0.9  # seconds between two diagnostics at least, so that they come with every fourth look
_PATIENCE = 1.5  # seconds that the present frame gets when the node is deactivated
_REPEAT = 5.0  # seconds between two warnings about the same thing

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class LaneDetectorNode(ResponsiveLifecycleNode):
    """A lifecycle node around a `Pipeline`, which exists while the node is configured.

    stop: is called when the node wants its process to end. options: as for rclpy's Node.
    Raises `ParameterError` for a parameter that cannot be used.
    """

    exit_code = 0

    def __init__(self, stop: process.Stop = lambda: None, **options: Any) -> None:
        super().__init__("lane_detector", **options)
        self._stop = stop
        self._pipeline: Pipeline | None = None
        self._failure = ""
        self._throttle = Throttle(_REPEAT)
        self._told = (0.0, "")  # when diagnostics were published last, and in what the work hung
        self._hint = qos.transport_hint(rclpy.get_rmw_implementation_identifier())
        declare.declare(
            self, DetectorParameters, is_configured=lambda: self.state != "unconfigured"
        )
        self._settings = declare.read(self, DetectorParameters)
        self.add_on_set_parameters_callback(self._refuse_conflict)
        self.add_post_set_parameters_callback(self._on_parameters_set)
        for line in declare.unknown_overrides(self, DetectorParameters, self._parameter_overrides):
            self.get_logger().warning(line)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: with simulated time it may stand still, and that must be told too.
        self.create_timer(_GLANCE, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self._settings.exit_with_parent:
            process.end_with_parent(self, stop)
        if self._settings.autostart:
            self.configure_and_activate()

    @property
    def node(self) -> Node:
        """The node itself, for `process.run`."""
        return self

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the weights and warms up; failing, says why and stays unconfigured."""
        self._failure = ""
        try:
            # Here, because PyTorch takes seconds to import and may be missing.
            from lane_sad_ros.ros.detector.pipeline import Pipeline

            self._pipeline = Pipeline(self, self._settings, self._warn)
            self._pipeline.apply(self._settings)  # what was set meanwhile
        except ImportError as error:
            return self._fail(
                f"{error}; install it for {sys.executable}, which runs this node, or set "
                "LANE_SAD_PYTHON (launch argument python:=) to an interpreter that has it"
            )
        except (ValueError, OSError) as error:
            return self._fail(str(error))
        # Engines and drivers raise what they like; the node has to outlive it.
        except Exception as error:
            return self._fail(f"{type(error).__name__}: {error}")
        topics = ", ".join(camera.topic for camera in self._pipeline.cameras.values())
        self.get_logger().info(f"configured for {topics}")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes to the cameras and starts to work."""
        if self._pipeline is not None and (hangs := self._pipeline.hangs):
            self.get_logger().error(f"cannot activate: {hangs}")
            return FAILURE
        try:
            if self._pipeline is not None:
                self._pipeline.start()
        # rclpy would turn it into an error without a word.
        except Exception as error:
            self.get_logger().error(f"cannot activate: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        self.get_logger().info("active")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes, after the present frame is finished."""
        if self._pipeline is not None:
            ended, subscriptions = self._pipeline.stop(_PATIENCE)
            if not ended:
                occupation = self._pipeline.occupation
                self.get_logger().error(f"deactivated, though the detector is {occupation}")
            for subscription in subscriptions:
                self.destroy_in_executor(self.destroy_subscription, subscription)
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the detector and the outputs go."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            for camera in pipeline.cameras.values():
                for publisher in camera.outputs.all:
                    self.destroy_in_executor(self.destroy_publisher, publisher)
            from lane_sad_ros.detection.devices import release_memory

            del pipeline
            gc.collect()
            release_memory()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivates and cleans up."""
        self.on_deactivate(state)
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured after a transition that raised."""
        return self.on_shutdown(state)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Sets parameters. Those that have the value already are left alone, read-only ones too, so
        that the node takes its own dump.
        """
        changed = [
            given
            for given in parameter_list
            if not self.has_parameter(given.name)
            or self.get_parameter(given.name).get_parameter_value() != given.get_parameter_value()
        ]
        if not changed and parameter_list:
            return SetParametersResult(successful=True)
        return super().set_parameters_atomically(changed)

    def finish(self, timeout: float) -> bool:
        """Ends all work before the process does; false if some goes on after `timeout` seconds."""
        if not self.finish_transitions(timeout):
            return False
        return self._pipeline is None or self._pipeline.stop(timeout)[0]

    def _fail(self, reason: str) -> TransitionCallbackReturn:
        self._failure = reason
        self.get_logger().error(f"cannot configure: {reason}")
        return FAILURE

    def _refuse_conflict(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        reason = ""
        if self.state != "unconfigured":  # else configuring says it, when all are set
            reason = declare.changed(self._settings, parameters).conflict()
        return SetParametersResult(successful=not reason, reason=reason)

    def _on_parameters_set(self, _: Sequence[Any]) -> None:
        self._settings = declare.read(self, DetectorParameters)
        if self._pipeline is not None:
            self._pipeline.apply(self._settings)

    def _warn(self, subject: str, words: str) -> None:
        if self._throttle.due(subject, time.monotonic()):
            self.get_logger().warning(words)

    def _on_tick(self) -> None:
        """Looks at the work; tells of it once a second, and of a stall at once."""
        now, pipeline = time.monotonic(), self._pipeline
        stalled = ""
        if pipeline is not None and pipeline.lost and not self.exit_code:
            self.get_logger().fatal("the device has failed, which only a new process can mend")
            self.exit_code = 1
            self._stop()
        if pipeline is not None and self.state == "active":
            stalled = pipeline.stalled(now)
            for camera in pipeline.cameras.values():
                camera.look(now)
        if now - self._told[0] >= _PERIOD or bool(stalled) != bool(self._told[1]):
            self._told = now, stalled
            self._diagnostics.publish(self._statuses(now, stalled))

    def _statuses(self, now: float, stalled: str) -> DiagnosticArray:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name().removeprefix("/")
        state, pipeline = self.state, self._pipeline
        report = Report()
        report.values["state"] = state
        if self._failure:
            report.add(ERROR, f"cannot configure: {self._failure}")
        elif state == "unconfigured" and self._settings.autostart:
            report.add(WARN, "unconfigured")
        if pipeline is not None:
            pipeline.report(report, now)
        hardware = report.values.get("device", self._settings.device)
        message.status.append(report.message(f"{name}: detector", hardware, state))
        if pipeline is not None and state == "active":
            for camera in pipeline.cameras.values():
                report = camera.report(now, self._hint, stalled)
                label = f"{name}: camera {camera.name}".rstrip()
                message.status.append(report.message(label, camera.topic, "receiving"))
        return message


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM, then ends the process with exit code 0.

    The code is 1 after an error in the node itself. Wrong use returns 2 at once.
    """

    def create(stop: process.Stop, arguments: list[str]) -> LaneDetectorNode:
        process.no_arguments(arguments)
        return LaneDetectorNode(stop)

    return process.run("lane_detector", create, args)


if __name__ == "__main__":
    sys.exit(main())
