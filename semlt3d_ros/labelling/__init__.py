"""What a teacher detects in a whole drive, made consistent over time."""
