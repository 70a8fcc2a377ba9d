"""The node's services. Their answers come from other threads; the executor does not wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as Work
from typing import Any

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.node.engine import Engine
from ws3d_ros.reconstruction.map_file import MapFileError
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.rigid import pose_matrix
from ws3d_ros.srv import LoadMap, SaveMap, SetVocabulary


class Services:
    """``~/set_vocabulary``, ``~/clear_map``, ``~/save_map`` and ``~/load_map``."""

    def __init__(self, node: Node, engine: Engine, on_words: Callable[[Vocabulary], None]) -> None:
        """``on_words`` hears of new words, on the executor's thread."""
        self._node = node
        self._engine = engine
        self._on_words = on_words
        self._services = [
            node.create_service(SetVocabulary, "~/set_vocabulary", self._set_vocabulary),  # type: ignore[misc]
            node.create_service(Trigger, "~/clear_map", self._clear_map),
            node.create_service(SaveMap, "~/save_map", self._save_map),  # type: ignore[misc]
            node.create_service(LoadMap, "~/load_map", self._load_map),  # type: ignore[misc]
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

    async def _save_map(self, request: SaveMap.Request, response: SaveMap.Response) -> SaveMap.Response:
        try:
            kept = await self._result(self._engine.files.save(request.name))
        except MapFileError as error:
            response.message = str(error)
            return response
        response.success = True
        response.path, response.bytes, response.voxels = str(kept.path), kept.bytes, kept.voxels
        response.duration_s = kept.duration_s
        response.message = (
            f"{kept.voxels} voxels, {kept.bytes / 1e6:.1f} MB in {kept.path} after {kept.duration_s:.2f} s"
        )
        return response

    async def _load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        try:
            work = self._engine.files.load(request.name, _pose(request.transform), request.replace)
            kept = await self._result(work)
        except MapFileError as error:
            response.message = str(error)
            return response
        response.success = True
        response.bytes, response.voxels, response.duration_s = kept.bytes, kept.voxels, kept.duration_s
        told = [f"{kept.voxels} voxels of {kept.path} after {kept.duration_s:.2f} s", *kept.notes]
        response.message = "; ".join(told)
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


def _pose(transform: Transform) -> FloatArray | None:
    """(4, 4); None for the identity.

    Raises:
        MapFileError: for a quaternion that is none, or numbers that are not finite.
    """
    move, turn = transform.translation, transform.rotation
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
    length = float(np.linalg.norm(quaternion))
    if not np.isfinite([*quaternion, move.x, move.y, move.z]).all() or abs(length - 1.0) > 0.01:
        raise MapFileError(f"the transform's rotation must be of length 1, not {quaternion.tolist()}")
    pose = pose_matrix((move.x, move.y, move.z), (quaternion / length).tolist())
    return None if np.array_equal(pose, np.eye(4)) else pose
