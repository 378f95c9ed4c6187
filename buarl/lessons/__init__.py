"""What the lessons and the demo stand on: short trainings, made once and kept in the cache."""
