"""The jobs end to end: what the command line, Python and pytest call."""
