"""What is laid over the board: questions, the palette, the log, help."""
