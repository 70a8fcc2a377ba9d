"""The ROS 2 side. The only room that imports rclpy or messages."""
