"""The lifecycle node: puts parameters, sensors, threads, outputs and services together.

configure loads the encoder and the 3D network and warms them up; activate listens and publishes;
deactivate stops listening and keeps the map; clean-up frees everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from ws3d_ros.config import Config
from ws3d_ros.language.choose import Choice
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.msg import PipelineStatus
from ws3d_ros.network.choose import NetworkChoice, voxel_size_warning
from ws3d_ros.node import doctor, parameters
from ws3d_ros.node.engine import STOP_WITHIN_S, Engine
from ws3d_ros.node.ingest import Ingest
from ws3d_ros.node.log_bridge import bridge_logging
from ws3d_ros.node.models import choose_device, limit_gpu, load_encoder, load_network
from ws3d_ros.node.outputs import Outputs
from ws3d_ros.node.qualities import NEWEST
from ws3d_ros.node.questions import Questions
from ws3d_ros.node.refusal import RefusedError, refusal
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.node.services import Services
from ws3d_ros.node.status import Health, diagnostics_message, status_message
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.sensors.corrections import Correction
from ws3d_ros.sensors.ledger import Count, Ledger

LOOK_PERIOD_S = 1.0
MEMORY_PERIOD_S = 5.0
POLL_PERIOD_S = 0.02
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
Transition = Callable[["PerceptionNode", LifecycleState], TransitionCallbackReturn]


def told(transition: Transition) -> Transition:
    """rclpy swallows what a transition raises; this tells it, and the transition fails.

    When a signal ended ROS meanwhile nothing is wrong: SystemExit, before rclpy tries to publish the state.
    """

    @wraps(transition)
    def guarded(self: PerceptionNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            result = transition(self, state)
        except Exception as error:
            if self.context.ok():
                name = transition.__name__.removeprefix("on_")
                why = refusal(f"to {name}", error) if isinstance(error, RefusedError) else f"{error}"
                self.get_logger().error(f"{name} failed: {why}")
            result = FAILURE
        if not self.context.ok():
            raise SystemExit
        return result

    return guarded


@dataclass
class Core:
    """What lives from configure to clean-up."""

    config: Config
    choice: Choice
    network: NetworkChoice
    ledger: Ledger
    reporter: Reporter
    engine: Engine
    outputs: Outputs
    questions: Questions
    services: Services
    status_timer: Timer


@dataclass
class Activity:
    """What lives from activate to deactivate."""

    ingest: Ingest
    doctor: doctor.Doctor
    timers: list[Timer]


class PerceptionNode(LifecycleNode):
    """``/ws3d``."""

    def __init__(self) -> None:
        """
        Raises:
            ConfigError: for a parameter that is unknown or does not fit.
        """
        # Undeclared parameters are refused, too, but by us, who name them.
        super().__init__(
            "ws3d", automatically_declare_parameters_from_overrides=True, allow_undeclared_parameters=True
        )
        bridge_logging(self.get_logger())
        parameters.declare(self)
        parameters.guard(self, lambda: self._core is not None)
        self.add_post_set_parameters_callback(self._on_parameters)
        # Deadlines and periods are real time, also when stamps are simulated.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._core: Core | None = None
        self._activity: Activity | None = None
        self._status = self.create_publisher(PipelineStatus, "~/status", NEWEST)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def autostart(self) -> bool:
        """Configures and activates itself where it shall; False if that failed."""
        if not self.get_parameter(parameters.AUTOSTART.name).value:
            return True
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def end(self) -> None:
        """Frees everything, whatever the state."""
        self._stop_activity()
        self._free_core()
        self.destroy_node()

    def survive(self, error: Exception) -> None:
        """A callback raised: tells it, counts it, and the node goes on."""
        if self._core is None:
            self.get_logger().error(f"survived an error, please report it: {error!r}")
        else:
            self._core.engine.survive("executor", error)

    # Transitions ------------------------------------------------------------------------------

    @told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        config = parameters.read(self)
        device = choose_device(config.semantics.device)
        limit_gpu(device, config.memory.gpu_mb)
        words = Vocabulary.load(config.semantics.vocabulary)
        choice = load_encoder(config, device)
        ledger, reporter = Ledger(), Reporter(lambda text: self.get_logger().warning(text))
        network = load_network(config, choice.encoder, device)
        pipeline = Pipeline(config, choice.encoder, words, device, network.namer)
        engine = Engine(config, pipeline, ledger, reporter)
        questions = Questions(engine, config, choice.encoder, network.namer)
        self._core = Core(
            config,
            choice,
            network,
            ledger,
            reporter,
            engine,
            Outputs(self, config, reporter.report),
            questions,
            Services(self, engine, questions, config.inputs.map_frame, self._tell_words),
            self._every(config.output.status_period_s, self._tell_status),
        )
        self.get_logger().info(f"encoder: {choice.why}")
        self._tell_network(network)
        self.get_logger().info(
            f"vocabulary: {config.semantics.vocabulary} ({len(words)} names); device: {device}"
        )
        return super().on_configure(state)

    @told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._core is not None
        core, config = self._core, self._core.config
        ingest = Ingest(
            *(self, config.inputs, core.ledger, core.reporter, core.engine.offer),
            *(self._on_time_jump, self._on_correction),
        )
        result = super().on_activate(state)
        examiner = doctor.Doctor(self, ingest, config.inputs, core.reporter, core.engine.survive)
        timers = [
            self._every(doctor.PERIOD_S, examiner.look),
            self._every(LOOK_PERIOD_S, ingest.look),
            self._every(LOOK_PERIOD_S, core.engine.memory.hold),
            self._every(MEMORY_PERIOD_S, core.engine.memory.give_back),
            self._every(POLL_PERIOD_S, ingest.poll),
            self._every(1.0 / config.output.cloud_rate_hz, self._publish_window),
            self._every(config.output.map_period_s, self._publish_map),
        ]
        self._activity = Activity(ingest, examiner, timers)
        core.outputs.restart()
        self._tell_words(core.engine.words)
        self.get_logger().info("active")
        return result

    @told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_activity()
        return super().on_deactivate(state)

    @told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._free_core()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_activity()
        self._free_core()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.on_shutdown(state)

    def _stop_activity(self) -> None:
        if self._activity is None:
            return
        for timer in self._activity.timers:
            self.destroy_timer(timer)
        self._activity.ingest.close()
        self._activity.doctor.stop(STOP_WITHIN_S)
        self._activity = None
        if self._core is not None:
            self._core.engine.forget_waiting("deactivated")

    def _free_core(self) -> None:
        if self._core is None:
            return
        core, self._core = self._core, None
        self.destroy_timer(core.status_timer)
        core.services.destroy()
        core.questions.worker.stop(STOP_WITHIN_S)
        core.engine.stop()
        core.outputs.destroy()

    # Now and then -----------------------------------------------------------------------------

    def _publish_window(self) -> None:
        assert self._core is not None
        engine, outputs = self._core.engine, self._core.outputs
        if listeners := outputs.window_listeners():
            engine.publish("window", listeners, False, outputs.publish_window)

    def _publish_map(self) -> None:
        assert self._core is not None
        engine = self._core.engine
        # The map is latched: who comes later for it alone needs no new copy.
        outputs = self._core.outputs
        engine.publish("map", outputs.map_listeners(), True, outputs.publish_map)

    def _tell_words(self, words: Vocabulary) -> None:
        assert self._core is not None
        encoder = self._core.choice.encoder
        space, name = (encoder.space, encoder.name) if encoder is not None else ("", "")
        self._core.outputs.publish_vocabulary(words, space, name)

    def _tell_network(self, network: NetworkChoice) -> None:
        assert self._core is not None
        if network.is_fault:
            self._core.reporter.report("network", f"network: {network.why}")
        else:
            self.get_logger().info(f"network: {network.why}")
        if network.namer is not None:
            warning = voxel_size_warning(network.namer, self._core.config.map.voxel_size_m)
            if warning:
                self._core.reporter.report("voxel size", warning)

    def _tell_status(self) -> None:
        assert self._core is not None
        waiting = self._activity.ingest.waiting() if self._activity is not None else 0
        self._tell_stuck(self._core)
        if problem := self._core.engine.pipeline.ladder.problem():
            self._core.reporter.report(problem, problem, once=True)
        status = status_message(
            health(self._core, self._activity is not None, waiting), self._core.outputs.header()
        )
        self._status.publish(status)
        diagnostics = diagnostics_message(self.get_name(), status)
        sections = self._activity.doctor.sections if self._activity is not None else []
        diagnostics.status += [doctor.to_entry(self.get_name(), section) for section in sections]
        self._diagnostics.publish(diagnostics)

    def _tell_stuck(self, core: Core) -> None:
        """The watchdog. Python cannot end a thread; who is stuck is believed again when it comes back."""
        for worker in core.engine.workers:
            if since_s := worker.stuck_s():
                core.reporter.report(
                    f"{worker.name} stuck",
                    f"{worker.name} has been at one piece of work for {since_s:.0f} s; what does not need it "
                    "goes on. If it does not come back, start the node again, with a smaller model or "
                    "map.window_radius_m",
                )

    def _on_time_jump(self) -> None:
        assert self._core is not None
        self._core.engine.forget_waiting("time_jump")
        if self._core.config.inputs.clear_map_on_time_jump:
            self._core.engine.clear_map()

    def _on_correction(self, correction: Correction) -> None:
        assert self._core is not None
        inputs, turn_deg = self._core.config.inputs, np.degrees(correction.turn_rad)
        self.get_logger().info(
            f"{inputs.map_frame} -> {inputs.odom_frame} jumped by {correction.shift_m:.2f} m and "
            f"{turn_deg:.1f} degrees: the map follows"
        )
        self._core.engine.correct(correction)

    def _on_parameters(self, changed: Sequence[Parameter[Any]]) -> None:
        if self._core is not None and any(parameter.name in parameters.SETTINGS for parameter in changed):
            self._core.config = parameters.read(self)
            self._core.engine.retune(self._core.config)
            self._core.outputs.retune(self._core.config)

    def _every(self, period_s: float, work: Callable[[], None]) -> Timer:
        return self.create_timer(period_s, work, clock=self._steady)


def health(core: Core, is_active: bool, waiting: int) -> Health:
    """The node's state as plain values.

    Args:
        waiting: measurements that wait for tf.
    """
    engine, config = core.engine, core.config
    counts = core.ledger.snapshot()
    return Health(
        state="active" if is_active else "inactive",
        problems=core.reporter.problems(),
        sensors={name: counts.get(name, Count()) for name in [*config.inputs.cameras, *config.inputs.lidars]},
        stages_ms=engine.pipeline.stopwatch.summary_ms(),
        queues={
            "tf": (waiting, 0.0, 0.0),
            **{worker.name: (*worker.load(), worker.busy_share()) for worker in engine.workers},
        },
        voxels=len(engine.pipeline.map),
        map_bytes=engine.pipeline.map.bytes,
        budget_bytes=int(config.map.budget_mb * 1e6),
        rss_budget_bytes=engine.memory.most_bytes,
        encoder=core.choice.encoder.name if core.choice.encoder is not None else "",
        encoder_why=core.choice.why,
        network=core.network.namer.name if core.network.namer is not None else "",
        network_why=core.network.why,
        latencies_ms=core.outputs.latencies_ms(),
        label_latencies_ms=core.outputs.label_latencies_ms(),
        keyframes=engine.keyframes,
        skipped=engine.skipped,
        worker_errors=engine.errors,
        adapted=engine.adapted(),
    )
