"""``ros2 run ws3d_ros perception``: starts the node and ends it cleanly.

Exit codes: 0 ended by a signal or by ROS; 1 a bug; 2 a parameter or argument that does not fit;
3 the node could not be made or configured (the log says why).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

# Before torch is imported: OpenMP threads that spin while they wait steal the time of everything
# else on a robot's computer. Some 20 µs of it are left: to sleep and wake between two operators takes
# longer, and a network has thousands (benchmarks/README.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# Mapping, images and names compute side by side: where each takes every core they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
os.environ.setdefault("KMP_BLOCKTIME", "0")
# Large tensors on large pages: without, the kernel hands their memory out anew, 4 KiB at a time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# torch keeps 1024 ready-made multiplications twice, by their shapes, which never come again in a map that
# grows: 600 MB after some minutes (docs/reliability.md).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
os.environ.setdefault("LRU_CACHE_CAPACITY", "128")

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger

from ws3d_ros.config import ConfigError
from ws3d_ros.memory import keep_one_heap
from ws3d_ros.node.refusal import RefusedError, refusal

if TYPE_CHECKING:
    from ws3d_ros.node.perception_node import PerceptionNode

OK, BUG, BAD_PARAMETER, NOT_CONFIGURED = 0, 1, 2, 3
END_WITHIN_S = 1.8


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the node until a signal ends it, and ends the process; returns a code if ROS never began."""
    keep_one_heap()
    # Python's own answers are an exception wherever the main thread happens to be, and death. ROS calls
    # these beside its own handlers, which end spinning, and puts them back when it shuts down.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: None)
    log = get_logger("ws3d")
    code = OK
    try:
        rclpy.init(args=list(sys.argv if arguments is None else arguments))
    except Exception as error:
        log.fatal(f"ROS does not accept the arguments: {error}")
        return BAD_PARAMETER
    # A signal may find a thread inside a long call (an encoder that loads); the end has a deadline.
    rclpy.get_default_context().on_shutdown(lambda: end_soon(lambda: code))
    node = None
    try:
        # Heavy imports come after the arguments were accepted.
        from ws3d_ros.node.perception_node import PerceptionNode

        node = PerceptionNode()
        if node.autostart():
            spin(node)
        else:
            code = NOT_CONFIGURED
    except (ConfigError, ParameterException) as error:
        log.fatal(str(error))
        code = BAD_PARAMETER
    except SystemExit:
        pass  # a signal ended ROS during a transition
    except RefusedError as error:
        if rclpy.ok():  # else a signal ended it while the node was made
            log.fatal(refusal("to make the node", error))
            code = NOT_CONFIGURED
    except Exception:
        if rclpy.ok():  # else one ended it while the node was made
            raise
    finally:
        if node is not None:
            node.end()
        rclpy.try_shutdown()
    # Python would wait for threads inside native code, and take apart what threads of DDS still use.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def spin(node: PerceptionNode) -> None:
    """Runs callbacks until ROS shuts down. A callback that raises ends nothing else."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok():
        spin_until_error(executor, node)


def spin_until_error(executor: SingleThreadedExecutor, node: PerceptionNode) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception as error:
        if rclpy.ok():  # else a signal ended ROS while a message was taken
            node.survive(error)


def end_soon(code: Callable[[], int]) -> None:
    """Ends the process even if a thread is still busy then."""
    timer = threading.Timer(END_WITHIN_S, lambda: os._exit(code()))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
