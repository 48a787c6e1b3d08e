"""A network that you have: make it fast."""
