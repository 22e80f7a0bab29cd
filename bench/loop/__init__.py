"""The loop on the robot, whole: drive, record, label, distil, judge, promote, drive again."""
