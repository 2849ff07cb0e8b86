"""Small sigmoid networks on binary MNIST (Ioffe & Szegedy 2015, Fig. 1)."""
