"""`conformance function`: whether a gradient that somebody wrote by hand is that of the function."""
