"""What a student learns from teachers, one file per paper."""
