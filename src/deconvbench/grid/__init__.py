"""What to measure: axes, constraints and presets that expand into cases."""
