"""The data that the packages exchange: a problem, its trace, results and their file."""
