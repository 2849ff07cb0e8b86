"""Mean gradient magnitude per kind of parameter: kernels, biases, γ and β, over training."""
