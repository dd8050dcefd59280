"""Which process runs which role, decided from command lines and parents."""
