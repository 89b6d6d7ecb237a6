"""Every known mistake planted, and every gate tried on it."""
