"""The node's services. Their answers come from other threads; the executor does not wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as Work
from typing import Any

from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.node.engine import Engine
from ws3d_ros.srv import SetVocabulary


class Services:
    """``~/set_vocabulary`` and ``~/clear_map``."""

    def __init__(self, node: Node, engine: Engine, on_words: Callable[[Vocabulary], None]) -> None:
        """``on_words`` hears of new words, on the executor's thread."""
        self._node = node
        self._engine = engine
        self._on_words = on_words
        self._services = [
            node.create_service(SetVocabulary, "~/set_vocabulary", self._set_vocabulary),  # type: ignore[misc]
            node.create_service(Trigger, "~/clear_map", self._clear_map),
        ]

    def destroy(self) -> None:
        """Ends the services."""
        for service in self._services:
            self._node.destroy_service(service)

    async def _set_vocabulary(
        self, request: SetVocabulary.Request, response: SetVocabulary.Response
    ) -> SetVocabulary.Response:
        entries = [entry for entry in request.vocabulary if entry.strip()]
        if not entries:
            response.message = "the request names no words; give words, a packaged vocabulary or a YAML file"
            return response
        try:
            renamed = await self._result(self._engine.use_words(entries))
        except (VocabularyError, EncoderError) as error:
            response.message = str(error)
            return response
        self._on_words(renamed.words)
        response.success = True
        response.message = f"{len(renamed.words)} names in use"
        response.relabelled = int(renamed.voxels)
        response.duration_s = float(renamed.duration_s)
        return response

    async def _clear_map(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        voxels = await self._result(self._engine.clear_map())
        response.success = True
        response.message = f"{voxels} voxels forgotten"
        return response

    async def _result(self, work: Work[Any]) -> Any:
        """The result of another thread's work, without blocking the executor."""
        done: Future[None] = Future()

        def wake(_: Work[Any]) -> None:
            done.set_result(None)
            if self._node.executor is not None:
                self._node.executor.wake()

        work.add_done_callback(wake)
        await done
        return work.result()
