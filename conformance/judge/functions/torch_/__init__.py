"""PyTorch's front end (`record`), and PyTorch code as what is judged (`candidate`)."""
