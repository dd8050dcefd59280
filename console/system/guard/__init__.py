"""Carries out ensure, restart and kill."""
