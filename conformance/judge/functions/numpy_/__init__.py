"""NumPy's front end (`record`): arrays that record what is done to them."""
