"""What planners want to know of a map: where a robot can drive, what is in its way, what it shall grasp."""
