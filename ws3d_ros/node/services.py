"""The node's services. Their answers come from other threads; the executor does not wait."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from concurrent.futures import Future as Work
from functools import wraps
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Transform
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ws3d_ros.instances.objects import State
from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.questions import QuestionError
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.node.engine import Engine
from ws3d_ros.node.objects import instance_message
from ws3d_ros.node.outputs import LATCHED, palette
from ws3d_ros.node.packing import pack_cloud, pack_palette, pack_points
from ws3d_ros.node.questions import Questions, Reply, fill
from ws3d_ros.reconstruction.map_file import MapFileError
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.rigid import pose_matrix
from ws3d_ros.srv import GetInstance, LoadMap, Query, SaveMap, SetVocabulary

Handler = Callable[["Services", Any, Any], Awaitable[Any]]


def answered(handler: Handler) -> Handler:
    """Whoever asks gets an answer, also where something fails that should not: rclpy would send none."""

    @wraps(handler)
    async def guarded(self: Services, request: Any, response: Any) -> Any:
        try:
            return await handler(self, request, response)
        except Exception as error:
            self._engine.survive(handler.__name__.lstrip("_"), error)
            response.success = False
            response.message = f"this failed, please report it: {type(error).__name__}: {error}"
            return response

    return guarded


MOST_ANSWERS = 10
"""Where a request does not say."""


class Services:
    """``~/set_vocabulary``, ``~/clear_map``, ``~/save_map``, ``~/load_map``, ``~/query``, ``~/get_instance``.

    What a question found is published on ``~/answers``, too.
    """

    def __init__(
        self,
        node: LifecycleNode,
        engine: Engine,
        questions: Questions,
        frame_id: str,
        on_words: Callable[[Vocabulary], None],
    ) -> None:
        """
        Args:
            frame_id: the map frame.
            on_words: hears of new words, on the executor's thread.
        """
        self._node = node
        self._engine = engine
        self._questions = questions
        self._frame_id = frame_id
        self._on_words = on_words
        self._answers = node.create_lifecycle_publisher(PointCloud2, "~/answers", LATCHED)
        self._services = [
            node.create_service(SetVocabulary, "~/set_vocabulary", self._set_vocabulary),  # type: ignore[misc]
            node.create_service(Trigger, "~/clear_map", self._clear_map),
            node.create_service(SaveMap, "~/save_map", self._save_map),  # type: ignore[misc]
            node.create_service(LoadMap, "~/load_map", self._load_map),  # type: ignore[misc]
            node.create_service(Query, "~/query", self._query),  # type: ignore[misc]
            node.create_service(GetInstance, "~/get_instance", self._get_instance),  # type: ignore[misc]
        ]

    def destroy(self) -> None:
        """Ends the services."""
        for service in self._services:
            self._node.destroy_service(service)
        self._node.destroy_lifecycle_publisher(self._answers)

    @answered
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

    @answered
    async def _clear_map(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        voxels = await self._result(self._engine.clear_map())
        response.success = True
        response.message = f"{voxels} voxels forgotten"
        return response

    @answered
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

    @answered
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

    @answered
    async def _query(self, request: Query.Request, response: Query.Response) -> Query.Response:
        viewer = request.viewer
        viewer_m = np.array([viewer.x, viewer.y, viewer.z]) if request.has_viewer else None
        most = int(request.most) or MOST_ANSWERS
        try:
            work = self._questions.ask(request.text, viewer_m, bool(request.whole_map), most)
            reply: Reply = await self._result(work)
        except (QuestionError, EncoderError, VocabularyError) as error:
            response.message = str(error)
            return response
        if self._answers.is_activated:
            points = pack_points(reply.lit, pack_palette(palette(reply.words)))
            self._answers.publish(pack_cloud(points, self._header(reply.lit.stamp_ns)))
        return fill(response, reply)

    @answered
    async def _get_instance(
        self, request: GetInstance.Request, response: GetInstance.Response
    ) -> GetInstance.Response:
        found = await self._result(self._questions.instance(int(request.id)))
        if found is None:
            response.message = f"there is no object {request.id} in the map; ~/instances and ~/query tell ids"
            return response
        response.success = True
        response.header = self._header(found.stamp_ns)
        response.instance = instance_message(found.instance, found.words, State.ACTIVE)
        response.message = f"{response.instance.name}, {found.instance.voxels} voxels"
        response.voxel_keys = array("q", found.keys.numpy().tobytes())
        return response

    def _header(self, stamp_ns: int) -> Header:
        return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=self._frame_id)

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
    if not np.isfinite([move.x, move.y, move.z]).all():
        raise MapFileError(f"the transform must be finite, not a move by {move.x}, {move.y}, {move.z} m")
    if not abs(length - 1.0) <= 0.01:  # NaN, too
        raise MapFileError(f"the transform's rotation must be of length 1, not {quaternion.tolist()}")
    pose = pose_matrix((move.x, move.y, move.z), (quaternion / length).tolist())
    return None if np.array_equal(pose, np.eye(4)) else pose
