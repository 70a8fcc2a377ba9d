"""What is wrong with the inputs, judged from plain observations: the doctor's knowledge, without ROS."""
