"""What the core says through ``logging`` goes to the ROS log."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class RosHandler(logging.Handler):
    """Hands records to a ROS logger, severity for severity."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        # rclpy insists that one line of code logs with one severity only.
        self._by_level = {
            logging.DEBUG: lambda text: logger.debug(text),
            logging.INFO: lambda text: logger.info(text),
            logging.WARNING: lambda text: logger.warning(text),
            logging.ERROR: lambda text: logger.error(text),
            logging.CRITICAL: lambda text: logger.fatal(text),
        }

    def emit(self, record: logging.LogRecord) -> None:
        level = max((level for level in self._by_level if level <= record.levelno), default=logging.DEBUG)
        self._by_level[level](self.format(record))


def bridge_logging(logger: RcutilsLogger) -> None:
    """From now on the package's log goes to ``logger``; its level is ROS's business."""
    package = logging.getLogger("ws3d_ros")
    package.handlers = [RosHandler(logger)]
    package.setLevel(logging.DEBUG)
    package.propagate = False
