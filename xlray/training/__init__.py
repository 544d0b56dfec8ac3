"""Doing a phase on workers: model, step, checkpoint, evaluation."""
