"""The command line: a file per group of commands; each makes one call into the package."""
