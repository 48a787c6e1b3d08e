"""What the machine gives and takes: paths, files, temporary folders, text, and where modules come from."""
