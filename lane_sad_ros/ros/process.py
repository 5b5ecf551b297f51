"""A node as a process of its own: started by its arguments, ended in order by signals."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException, ParameterUninitializedException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

Stop = Callable[[], None]
"""Asks the process to end; may be called from any thread, more than once."""

# What rclpy raises for its own parameters; an empty list leaves them uninitialized.
_WRONG_TYPE = (InvalidParameterTypeException, ParameterUninitializedException)
_PATIENCE = 1.0  # seconds that work in progress gets at the end; ros2 launch kills after ten


class Task(Protocol):
    """What runs in the process.

    node: has its callbacks run until the end. exit_code: of the process, after `finish`.
    """

    exit_code: int

    @property
    def node(self) -> Node: ...

    def finish(self, timeout: float) -> bool:
        """Ends all work before the process does; false if some goes on after `timeout` seconds."""
        ...


def run(name: str, create: Callable[[Stop, list[str]], Task], args: list[str] | None = None) -> int:
    """Runs a task until it or a signal (SIGINT, SIGTERM) asks for the end, then ends the process.

    create: makes the task out of what asks for the end and the arguments that are not ROS's.
    The process ends with the task's exit code, or 1 after an error in a callback. Wrong use, which
    `create` raises as ValueError, returns 2 at once; a SystemExit of it passes. name: of the
    program, for what it prints.
    """
    # rclpy's own handlers let a second SIGINT interrupt the clean-up, and an executor that waits
    # keeps Python's from running. So one thread waits for the end, and another one spins. It waits
    # for a byte, not for a handler: of two signals at once another thread may take both, and
    # a handler, which only the main thread runs, would wait for a third.
    end, ask_to_end = os.pipe()
    os.set_blocking(ask_to_end, False)
    created, ended = threading.Event(), threading.Event()

    def wait_for_end() -> None:
        os.read(end, 1)
        ended.set()
        # What is still being loaded, maybe for long, has nothing to finish.
        if not created.wait(_PATIENCE):
            os._exit(0)

    threading.Thread(target=wait_for_end, name="end", daemon=True).start()
    signal.set_wakeup_fd(ask_to_end, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)

    def stop() -> None:
        os.write(ask_to_end, b"\0")

    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        task = create(stop, remove_ros_args(sys.argv if args is None else args)[1:])
    # rcl reports unreadable parameter files and wrong remappings as RuntimeErrors.
    except (RuntimeError, ValueError, *_WRONG_TYPE) as error:
        created.set()
        print(f"{name}: {_complaint(error)}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    except SystemExit:
        created.set()
        rclpy.try_shutdown()
        raise
    created.set()
    spinner = _Spinner(task.node, stop)
    spinner.start()
    ended.wait()
    # A group's Ctrl-C comes twice under ros2 launch; Python would die of the second at its exit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    finished = task.finish(_PATIENCE)
    code = task.exit_code
    # Where something does not end, such as the compilation of a network, the process ends without.
    if finished:
        spinner.end()  # before the context, which a callback under way may use
        rclpy.try_shutdown()
        task.node.destroy_node()
        code = code or int(spinner.failed)
        del task, spinner
        gc.collect()  # others see the node go when its last reference has
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to do but Python's tear-down of PyTorch, which takes seconds on a busy
    # machine, and ros2 launch becomes impatient after five.
    os._exit(code)


def no_arguments(arguments: list[str]) -> None:
    """Raises ValueError where a program that takes ROS arguments only was given another one."""
    if arguments:
        raise ValueError(
            f"unknown argument {arguments[0]}; parameters are given as --ros-args -p name:=value"
        )


def end_with_parent(node: Node, stop: Stop) -> None:
    """Calls `stop` when the process that started this one is gone, as after killing ros2 launch."""
    parent = os.getppid()

    def look() -> None:
        if os.getppid() != parent:
            node.get_logger().info("the process that started this node is gone: ending")
            stop()

    node.create_timer(1.0, look, clock=Clock(clock_type=ClockType.STEADY_TIME))


def _complaint(error: Exception) -> str:
    """The error in words that say what would be right."""
    if not isinstance(error, _WRONG_TYPE):
        return str(error)
    # All parameters of rclpy's own, such as use_sim_time, are of one type.
    reason, _, name = str(error).rpartition(": ")
    return f"parameter {name}: true or false is needed ({reason})"


class _Spinner(threading.Thread):
    """Runs the node's callbacks until `end` or an error, and calls `stop` at its end."""

    def __init__(self, node: Node, stop: Stop) -> None:
        super().__init__(name="executor", daemon=True)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._stop_process = stop
        self._ending = False
        self.failed = False

    def run(self) -> None:
        try:
            while not self._ending:
                self._executor.spin_once()
        except Exception:
            self.failed = True
            traceback.print_exc()
        finally:
            self._stop_process()

    def end(self) -> None:
        """Returns when the callback that is under way has."""
        self._ending = True
        self._executor.create_task(lambda: None)  # wakes an executor that waits for work
        self.join()
