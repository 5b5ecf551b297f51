"""A lifecycle node that answers while it changes state and survives impossible requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.task import Future


class ResponsiveLifecycleNode(LifecycleNode):
    """Runs transitions in a thread of their own, one after the other.

    While weights are loading, the executor goes on with parameters, diagnostics and
    `get_state`, which then says "configuring". An impossible transition is refused in words;
    rclpy's own node would end with an RCLError.

    The callbacks on_configure ... run in that thread: they may create entities, but destroy them
    only through `destroy_in_executor`.
    """

    def __init__(self, node_name: str, **options: Any) -> None:
        super().__init__(node_name, **options)
        self._transition_group = MutuallyExclusiveCallbackGroup()
        self._transition_thread: threading.Thread | None = None
        self._closing = False
        self._beginning = threading.Lock()  # of a transition, or of the end of them all
        service = next(s for s in self.services if s.srv_name.endswith("/change_state"))
        self._change_state = service.callback
        service.callback = self._on_change_state  # type: ignore[assignment]
        service.callback_group = self._transition_group
        self._transition_group.add_entity(service)

    @property
    def state(self) -> str:
        """The label of the present state, such as "active" or "configuring"."""
        return str(self._state_machine.current_state[1])

    def configure_and_activate(self) -> None:
        """Asks the executor to configure the node and, if that works, to activate it."""

        async def start() -> None:
            timer.cancel()
            if self.state != "unconfigured":
                return
            if await self._in_thread(self.trigger_configure) == TransitionCallbackReturn.SUCCESS:
                await self._in_thread(self.trigger_activate)

        clock = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self.create_timer(0.0, start, self._transition_group, clock)

    def destroy_in_executor(self, destroy: Callable[[Any], Any], entity: Any) -> None:
        """Destroys an entity between two callbacks.

        An executor that is waiting for an entity must not lose it from another thread.
        """
        if self.executor is None:
            destroy(entity)
        else:
            self.executor.create_task(destroy, entity)

    def finish_transitions(self, timeout: float) -> bool:
        """Lets no further transition begin and waits for the present one; false after `timeout`."""
        with self._beginning:
            self._closing = True
            thread = self._transition_thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        wanted = request.transition
        possible = {t[1]: t[0] for t in self._state_machine.available_transitions}
        known = wanted.label in possible if wanted.label else wanted.id in possible.values()
        if not known:
            self.get_logger().error(
                f"transition {wanted.label or wanted.id} is impossible in state {self.state}; "
                f"possible: {', '.join(possible) or 'none'}"
            )
            response.success = False
            return response
        return await self._in_thread(lambda: self._change_state(request, response)) or response

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """The result of `work`; None where no transition may begin any more."""
        executor = self.executor
        done = Future(executor=executor)

        def run() -> None:
            try:
                done.set_result(work())
            # Handed on to the executor, which raises it where the result is awaited.
            except Exception as error:
                done.set_exception(error)
            if executor is not None:
                executor.wake()

        with self._beginning:
            if self._closing:
                return None
            self._transition_thread = threading.Thread(target=run, name="transition", daemon=True)
            self._transition_thread.start()
        return await done
