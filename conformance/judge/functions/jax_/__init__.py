"""Networks of JAX."""
