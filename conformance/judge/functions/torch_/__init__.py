"""PyTorch's front end (`record`), and PyTorch code as a candidate (`candidate`)."""
