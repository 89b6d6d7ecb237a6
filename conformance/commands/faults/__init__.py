"""`conformance faults`: plants every known mistake, and tries every gate on it."""
