"""Many training runs as one program, and what they show together."""
