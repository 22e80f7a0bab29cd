"""The loop on the robot: what was recorded is labelled, learnt from, judged and, if better, taken over."""
