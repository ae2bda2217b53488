"""The gradients that the posts derive, by hand."""
