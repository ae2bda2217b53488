"""The results of the posts, an experiment for each row, in the order of the posts.

Post A builds a network from scratch and then in PyTorch; post B compares a pixel baseline, three
losses, a small network and ResNet-18; post C reads letters with a convolutional network, and sees
it fail on images that are moved. `jaxdigits reproduce` runs the experiments.
"""
