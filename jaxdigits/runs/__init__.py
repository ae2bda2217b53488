"""Trained networks and the folders that remember them."""
