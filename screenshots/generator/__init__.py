"""Draws the pictures of the README."""
