"""`conformance module`: whether the layers of a network hand back the right gradients, and which does not."""
