"""Training the student: recipes, the loop, resumable state, evaluation along the way."""
