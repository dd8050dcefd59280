"""Assignment of processes to roles, from command lines and parent processes."""
