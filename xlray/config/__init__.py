"""What a user writes: a sweep, its recipes, its subsets of tasks, how to execute it, `--set`."""
