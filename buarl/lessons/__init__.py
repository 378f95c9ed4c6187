"""What the lessons and the demo stand on: short trainings, kept in a cache, and their rows."""
