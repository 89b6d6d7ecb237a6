"""Verdicts: tolerances, gates, known differences, the runner, and what mistakes look like."""
