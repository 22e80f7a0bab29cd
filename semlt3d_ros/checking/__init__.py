"""Is a recording, or a running graph, fit for the detector and for learning?"""
