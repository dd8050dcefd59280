"""Carries out the commands ensure, restart and kill."""
