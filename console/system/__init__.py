"""Access to the machine: files, processes, locks, the store and the network.

No other package of the program accesses the machine.
"""
