"""From messages to frames: synchronisation, coordinate frames, image preparation. One path for every source."""
