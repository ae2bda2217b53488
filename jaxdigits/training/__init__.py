"""Pure functions that train: no file, no clock, no print."""
