"""What is done to pixels: geometry, random changes, scaling, and the form of a data set."""
