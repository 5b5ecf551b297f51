"""Fixtures: ROS, tiny weights, a client, and the node in this process or in one of its own."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import SPARE_SECONDS, TINY, Client, NodeUnderTest, Spinning
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from lane_sad_ros.network.enet import ENetSAD
from lane_sad_ros.network.weights import save_network
from lane_sad_ros.ros.detector.node import LaneDetectorNode
from lane_sad_ros.ros.process import Stop


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that nobody trained, small enough to run in milliseconds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = ENetSAD(len(TINY.slots), TINY.input_size)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(path, network, TINY, {}, {})
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def ros() -> Iterator[Context]:
    context = Context()
    context.init(args=[])
    yield context
    context.try_shutdown()


@pytest.fixture
def client(ros: Context) -> Iterator[Client]:
    with Spinning(Node("client", context=ros)) as spinning:
        yield Client(spinning.node)


@pytest.fixture
def start_node(ros: Context, tiny_weights: Path) -> Iterator[Callable[..., LaneDetectorNode]]:
    """Starts the node in this process: start_node(parameter=value, arguments=[...])."""
    with contextlib.ExitStack() as running:

        def start(
            arguments: list[str] | None = None, stop: Stop = lambda: None, **values: Any
        ) -> LaneDetectorNode:
            values = {"weights": str(tiny_weights), "device": "cpu", **values}
            node = LaneDetectorNode(
                stop,
                context=ros,
                parameter_overrides=[Parameter(k, value=v) for k, v in values.items()],
                cli_args=["--ros-args", *(arguments or [])],
            )
            running.enter_context(Spinning(node))
            running.callback(lambda: node.finish(SPARE_SECONDS))
            return node

        yield start
    # rclpy's lifecycle nodes lie in reference cycles; the next one wants the name in /rosout.
    gc.collect()


@pytest.fixture
def start_process(tmp_path: Path, tiny_weights: Path) -> Iterator[Callable[..., NodeUnderTest]]:
    """Starts the node as a process: start_process("-p", "name:=value", ...)."""
    started: list[NodeUnderTest] = []

    def start(*arguments: str) -> NodeUnderTest:
        log = tmp_path / f"node{len(started)}.log"
        started.append(
            NodeUnderTest(log, "-p", f"weights:={tiny_weights}", "-p", "device:=cpu", *arguments)
        )
        return started[-1]

    yield start
    for node in started:
        node.process.kill()
        node.process.wait()
