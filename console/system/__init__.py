"""The only room that touches the machine: files, processes, locks, the store, the network."""
