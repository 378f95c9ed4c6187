"""The loop, its numbers, the engine, checkpoints and run folders."""
