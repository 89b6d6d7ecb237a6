"""JAX's front end (`record`), JAX code as a candidate (`candidate`), and networks of JAX (`network`)."""
