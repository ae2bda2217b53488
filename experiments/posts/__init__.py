"""The results of the posts, an experiment for each row, in the order of the posts.

Post A builds a network from scratch and then in PyTorch; post B compares a pixel baseline, three
losses and a small network. `jaxdigits reproduce` runs the experiments.
"""
