"""The command line: options, output, exit codes, and one module for each command."""
