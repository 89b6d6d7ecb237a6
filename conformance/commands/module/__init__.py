"""`conformance module`: whether the layers of a network return the right gradients, and which does not."""
